"""The steps and commands of `claire`, in the order of the pipeline.

One line each, so that `claire --help` imports no step; a test compares each line with the docstring of its package.
"""

STEPS = {
    "index": "Find the series under a directory, choose one per acquisition and cut them into shards.",
    "ingest": "Turn a shard of series into pseudonymised HU scans.",
    "segment": "Mask the left and right lung of every scan of a shard.",
    "preprocess": "Filter, crop and resize the slices of a shard's scans.",
    "cohort": "Join shards into the one file of voxels that training reads, and draw the folds.",
    "plan": "Turn a grid of variants into the list of trainings.",
    "collect": "Take the finished trainings of a plan from the store, and name the missing ones.",
    "train": "Train one variant on one fold and predict its validation and test scans.",
    "evaluate": "Compare all runs: leaderboard, intervals, comparisons, winner.",
    "explain": "Show which lesions decided a fold's test scans.",
    "bundle": "Pack the winner as it was measured into one file that diagnoses new scans.",
    "apply": "Predict new scans by a model file: probabilities, decisions, and whether the model has a say.",
    "deliver": "Write a page a patient and DICOM objects of predicted scans.",
    "report": "Write everything into one self-contained HTML page.",
}
COMMANDS = {
    "run": "Check a job and run it: progress shown, the engine's chatter in a log, the cause of a failure told.",
    "predict": "Diagnose new patients by a model file: probabilities, lesions that decided, a page a patient, DICOM.",
    "status": "Print what the run in a folder does now.",
    "cancel": "End the run in a folder: the engine here, jobs and pods at its site.",
    "clean": "Remove what an ended run left behind besides its results: folders of its jobs, here and at its site.",
    "store": "Look into a store of finished results: what it holds, whether it is whole, what can go.",
    "site": "Describe, set up and check a site: where steps run, in pods, on a login node and in SLURM jobs.",
    "init": "Make a project of your own series: labels table, key, grid, job file and what a run will cost.",
    "check": "Check a job file before anything is run.",
    "phantom": "Make a seeded cohort of synthetic chest CT series with known truth.",
    "compare": "Compare the results of two runs of the pipeline.",
    "completion": "Print the completion of commands and flags for a shell.",
    "version": "Print the version of this installation and of what it runs on.",
}
