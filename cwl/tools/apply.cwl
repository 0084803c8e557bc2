cwlVersion: v1.2
class: CommandLineTool
label: Predict new scans
doc: |
  Predicts new scans by the networks of a model: calibrated probabilities with their spread, decisions at the operating
  points, and whether the model has a say at all, scan by scan and patient by patient.
requirements:
  ResourceRequirement: {coresMin: $(inputs.cores), ramMin: 3072}
  NetworkAccess: {networkAccess: false}
  SchemaDefRequirement: {types: [{$import: ../types/apply.yml}]}
  InlineJavascriptRequirement: {expressionLib: [{$include: ../expressions/manifest.js}]}
  InitialWorkDirRequirement:
    listing:
      - {entryname: prepared.txt, entry: $(manifest(inputs.prepared))}
      - {entryname: reject_tables.txt, entry: $(manifest(inputs.reject_tables))}
      - {entryname: records.txt, entry: $(manifest(inputs.records))}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-learn:0.1.0"}
  SoftwareRequirement: {packages: [{package: claire-pipeline, version: ["0.1.0"]}]}
baseCommand: [claire, apply]
arguments: [--threads, $(runtime.cores), --prepared, prepared.txt, --reject-tables, reject_tables.txt, --records, records.txt]

inputs:
  model: {type: File, inputBinding: {prefix: --model}, label: Model, doc: "model.zip of bundle"}
  prepared: {type: "File[]", label: Prepared shards, doc: "prepared.h5 files of preprocess"}
  reject_tables: {type: "File[]", label: Tables of rejects, doc: "rejects.csv files of the steps before"}
  records: {type: "File[]", label: Records, doc: "Records of index, ingest and preprocess: scans prepared otherwise than the model's are refused"}
  store: {type: "string?", inputBinding: {prefix: --store}, label: Store, doc: "Absolute path where the step is executed that keeps finished results"}
  parameters: {type: ["null", "../types/apply.yml#apply_parameters"], inputBinding: {}, label: Parameters, doc: "The flags of the step, each with its default"}
  cores: {type: int, default: 1, label: Cores, doc: "Processor cores of the job"}

outputs:
  predictions: {type: File, outputBinding: {glob: predictions.json}, format: "edam:format_3464", label: Predictions, doc: "What the model says of each scan and patient"}
  prediction_table: {type: File, outputBinding: {glob: predictions.csv}, format: "edam:format_3752", label: Predictions as a table, doc: "One row per scan"}
  scans: {type: File, outputBinding: {glob: scans.h5}, format: "edam:format_3590", label: Scans, doc: "The new scans as networks read them"}
  record: {type: File, outputBinding: {glob: apply.run.json}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
