cwlVersion: v1.2
class: CommandLineTool
label: Join the cohort
doc: |
  Joins the prepared shards into the one file of voxels that training maps into memory, draws patients into folds,
  balanced by class and site, and refuses a cohort that cannot be learned from fairly.
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 1024}
  NetworkAccess: {networkAccess: false}
  SchemaDefRequirement: {types: [{$import: ../types/cohort.yml}]}
  InlineJavascriptRequirement: {expressionLib: [{$include: ../expressions/manifest.js}]}
  InitialWorkDirRequirement:
    listing:
      - {entryname: prepared.txt, entry: $(manifest(inputs.prepared))}
      - {entryname: reject_tables.txt, entry: $(manifest(inputs.reject_tables))}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-data:0.1.0"}
  SoftwareRequirement: {packages: [{package: claire-pipeline, version: ["0.1.0"]}]}
baseCommand: [claire, cohort]
arguments: [--threads, $(runtime.cores), --prepared, prepared.txt, --reject-tables, reject_tables.txt]

inputs:
  prepared: {type: "File[]", label: Prepared shards, doc: "prepared.h5 files of preprocess"}
  reject_tables: {type: "File[]", label: Tables of rejects, doc: "rejects.csv files of the steps before"}
  fold_count: {type: "int?", inputBinding: {prefix: --fold-count}, label: Folds, doc: "Folds of the cross-validation, at least 3; 1 where every split is fixed"}
  seed: {type: "int?", inputBinding: {prefix: --seed}, label: Seed, doc: "Seed of the folds"}
  classes: {type: "string?", inputBinding: {prefix: --classes}, label: Classes, doc: "Class names in order, separated by commas; the first is the negative class"}
  store: {type: "string?", inputBinding: {prefix: --store}, label: Store, doc: "Absolute path where the step is executed that keeps finished results"}
  parameters: {type: ["null", "../types/cohort.yml#cohort_parameters"], inputBinding: {}, label: Parameters, doc: "The flags of the step, each with its default"}

outputs:
  cohort: {type: File, outputBinding: {glob: cohort.h5}, format: "edam:format_3590", label: Cohort, doc: "Voxels, lung masks and description of all scans"}
  cohort_summary: {type: File, outputBinding: {glob: cohort.json}, format: "edam:format_3464", label: Cohort summary, doc: "Hash, classes and counts"}
  scans: {type: File, outputBinding: {glob: scans.csv}, format: "edam:format_3752", label: Scans, doc: "One row per scan"}
  folds: {type: File, outputBinding: {glob: folds.csv}, format: "edam:format_3752", label: Folds, doc: "One row per patient: its fold or fixed split"}
  rejects: {type: File, outputBinding: {glob: rejects.csv}, format: "edam:format_3752", label: Rejects, doc: "Every series that did not enter, with the reason"}
  record: {type: File, outputBinding: {glob: cohort.run.json}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
