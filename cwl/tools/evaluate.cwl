cwlVersion: v1.2
class: CommandLineTool
label: Compare all runs
doc: |
  Leaderboard, metrics with 95 % intervals by patient and scan, comparisons, curves and the winner, from the predictions
  of every run. The headline is nested: in each fold the variant that is best on validation predicts the test patients.
requirements:
  InlineJavascriptRequirement: {}
  ResourceRequirement: {coresMin: 1, ramMin: 1024}
  NetworkAccess: {networkAccess: false}
  InitialWorkDirRequirement:
    listing:
      - entryname: runs.txt
        entry: "$(inputs.runs.map(function(f){return f.path}).join('\\n') + '\\n')"
hints:
  DockerRequirement: {dockerPull: "localhost/claire-data:0.1.0"}
baseCommand: [claire, evaluate]
arguments: [--threads, $(runtime.cores), --runs, runs.txt]
inputs:
  runs: {type: "File[]", label: Runs, doc: "Archive of every run, in the order of the plan"}
  scans: {type: File, inputBinding: {prefix: --scans}, label: Scans, doc: "scans.csv of the cohort"}
  cohort_summary: {type: File, inputBinding: {prefix: --cohort-summary}, label: Cohort summary, doc: "cohort.json of the cohort"}
  seed: {type: "int?", inputBinding: {prefix: --seed}, label: Seed, doc: "Seed of the bootstrap"}
  bootstrap: {type: "int?", inputBinding: {prefix: --bootstrap}, label: Bootstrap samples, doc: "Samples of the patients that the intervals are made of"}
  reference: {type: "string?", inputBinding: {prefix: --reference}, label: Reference, doc: "Id of the variant that all others are compared with"}
  prevalence: {type: "float?", inputBinding: {prefix: --prevalence}, label: Prevalence, doc: "Prevalence for the predictive values; the cohort's by default"}
outputs:
  leaderboard:
    type: File
    format: edam:format_3752
    outputBinding: {glob: leaderboard.csv}
    label: Leaderboard
    doc: A line a variant, with intervals
  metrics:
    type: File
    format: edam:format_3464
    outputBinding: {glob: metrics.json}
    label: Metrics
    doc: Every figure of every variant, with intervals, subgroups and guards
  comparisons:
    type: File
    format: edam:format_3752
    outputBinding: {glob: comparisons.csv}
    label: Comparisons
    doc: Variants against the reference and the winner
  curves:
    type: File
    format: edam:format_3752
    outputBinding: {glob: curves.csv}
    label: Curves
    doc: ROC, precision-recall, calibration and decision curves with bands
  winner:
    type: int[]
    outputBinding: {glob: winner.json, loadContents: true, outputEval: "$(JSON.parse(self[0].contents).winner)"}
    label: Winner
    doc: Positions of the winner's runs among the runs, by fold
  winner_folds:
    type: int[]
    outputBinding: {glob: winner.json, loadContents: true, outputEval: "$(JSON.parse(self[0].contents).fold)"}
    label: Winner's folds
    doc: Fold of each of the winner's runs
  winner_file:
    type: File
    format: edam:format_3464
    outputBinding: {glob: winner.json}
    label: Winner's file
    doc: The winner and its positions as a file
  record:
    type: File
    format: edam:format_3464
    outputBinding: {glob: evaluate.run.json}
    label: Record
    doc: What was done, on which inputs, how long it took
$namespaces: {edam: "http://edamontology.org/"}
