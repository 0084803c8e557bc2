cwlVersion: v1.2
class: CommandLineTool
label: Join the cohort
doc: |
  Joins the prepared shards into the one file of voxels that training maps into memory, draws patients into folds,
  balanced by class and site, and refuses a cohort that cannot be learned from fairly.
$namespaces: {edam: "http://edamontology.org/"}
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 1024}
  NetworkAccess: {networkAccess: false}
  InlineJavascriptRequirement: {}
  InitialWorkDirRequirement:
    listing:
      - entryname: prepared.txt
        entry: $(inputs.prepared.map(function(f){return f.path}).join('\n') + '\n')
      - entryname: rejects.txt
        entry: $(inputs.rejects.map(function(f){return f.path}).join('\n') + '\n')
hints:
  DockerRequirement: {dockerPull: "localhost/claire-data:0.1.0"}
baseCommand: [claire, cohort]
arguments: [--threads, $(runtime.cores), --prepared, prepared.txt, --rejects, rejects.txt]

inputs:
  prepared: {type: "File[]", label: Prepared shards, doc: "prepared.h5 files of preprocess"}
  rejects: {type: "File[]", label: Rejects, doc: "rejects.csv files of the steps before"}
  fold_count: {type: "int?", inputBinding: {prefix: --fold-count}, label: Folds, doc: "Folds of the cross-validation, at least 3; 1 where every split is fixed"}
  seed: {type: "int?", inputBinding: {prefix: --seed}, label: Seed, doc: "Seed of the folds"}
  classes: {type: "string?", inputBinding: {prefix: --classes}, label: Classes, doc: "Class names in order, separated by commas; the first is the negative class"}
  max_reject_fraction: {type: "float?", inputBinding: {prefix: --max-reject-fraction}, label: Most rejects, doc: "Share of chosen scans that may be set aside before the cohort is refused"}

outputs:
  cohort: {type: File, outputBinding: {glob: cohort.h5}, format: "edam:format_3590", label: Cohort, doc: "Voxels, lung masks and description of all scans"}
  cohort_summary: {type: File, outputBinding: {glob: cohort.json}, format: "edam:format_3464", label: Cohort summary, doc: "Hash, classes and counts"}
  scans: {type: File, outputBinding: {glob: scans.csv}, format: "edam:format_3752", label: Scans, doc: "A line a scan"}
  folds: {type: File, outputBinding: {glob: folds.csv}, format: "edam:format_3752", label: Folds, doc: "A line a patient: its fold or fixed split"}
  rejects: {type: File, outputBinding: {glob: rejects.csv}, format: "edam:format_3752", label: Rejects, doc: "Every series that did not enter, with the reason"}
  record: {type: File, outputBinding: {glob: cohort.run.json}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}
