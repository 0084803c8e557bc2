cwlVersion: v1.2
class: CommandLineTool
label: Pack the winner
doc: |
  Packs the winner as it was measured into one file that diagnoses new scans: the networks of all folds with their
  operating points and calibration, the preparation of scans, the fingerprint of the cohort, figures, a model card, and
  exports to ONNX, MONAI and containers. It reads tables that name sites, so it stays beside the data; the file names
  no site, patient or scan. Without torch (the data image) ONNX is left out, and the file says so.
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 3072}
  NetworkAccess: {networkAccess: false}
  SchemaDefRequirement: {types: [{$import: ../types/bundle.yml}]}
  InlineJavascriptRequirement: {expressionLib: [{$include: ../expressions/manifest.js}]}
  InitialWorkDirRequirement:
    listing:
      - {entryname: weights.txt, entry: $(manifest(inputs.weights))}
      - {entryname: runs.txt, entry: $(manifest(inputs.runs))}
      - {entryname: lesions.txt, entry: $(manifest(inputs.lesions))}
      - {entryname: records.txt, entry: $(manifest(inputs.records))}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-learn:0.1.0"}
  SoftwareRequirement: {packages: [{package: claire-pipeline, version: ["0.1.0"]}]}
baseCommand: [claire, bundle]
arguments: [--threads, $(runtime.cores), --weights, weights.txt, --runs, runs.txt, --lesions, lesions.txt, --records, records.txt]

inputs:
  weights: {type: "File[]", label: Weights, doc: "Weights of the winner's run of each fold"}
  runs: {type: "File[]", label: Runs, doc: "run.zip of the same runs"}
  winner: {type: File, inputBinding: {prefix: --winner}, label: Winner, doc: "winner.json of evaluate"}
  metrics: {type: File, inputBinding: {prefix: --metrics}, label: Metrics, doc: "metrics.json of evaluate"}
  cohort: {type: File, inputBinding: {prefix: --cohort}, label: Cohort, doc: "cohort.h5 that the runs were trained on"}
  cohort_summary: {type: File, inputBinding: {prefix: --cohort-summary}, label: Cohort summary, doc: "cohort.json of cohort"}
  scans: {type: File, inputBinding: {prefix: --scans}, label: Scans, doc: "scans.csv of cohort"}
  folds: {type: File, inputBinding: {prefix: --folds}, label: Folds, doc: "folds.csv of cohort"}
  lesions: {type: "File[]", label: Lesions, doc: "lesions.json files of explain"}
  records: {type: "File[]", label: Records, doc: "Records of the data steps, which hold how scans were prepared"}
  store: {type: "string?", inputBinding: {prefix: --store}, label: Store, doc: "Absolute path where the step is executed that keeps finished results"}
  parameters: {type: ["null", "../types/bundle.yml#bundle_parameters"], inputBinding: {}, label: Parameters, doc: "The flags of the step, each with its default"}

outputs:
  model: {type: File, outputBinding: {glob: "*.model.zip"}, format: "edam:format_3987", label: Model, doc: "The winner in one file, for the diagnosis of new scans"}
  record: {type: File, outputBinding: {glob: "*.bundle.run.json"}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
