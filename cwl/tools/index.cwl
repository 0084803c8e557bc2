cwlVersion: v1.2
class: CommandLineTool
label: Find the series
doc: |
  Finds the DICOM series and NIfTI files under a directory from their headers alone, chooses one per acquisition by a
  rule and cuts them into shards of similar size. It checks labels, patients, classes and folds before any voxel is read. It
  rejects nothing: what was not chosen stands in the shards with the reason. They hold paths and UIDs and stay at the
  site.
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 1024}
  NetworkAccess: {networkAccess: false}
  SchemaDefRequirement: {types: [{$import: ../types/index.yml}]}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-data:0.1.0"}
  SoftwareRequirement: {packages: [{package: claire-pipeline, version: ["0.1.0"]}]}
baseCommand: [claire, index]
arguments: [--threads, $(runtime.cores)]

inputs:
  source: {type: [Directory, string], inputBinding: {prefix: --source}, label: Series, doc: "Directory of DICOM series or NIfTI files, or its path at the site"}
  labels: {type: ["null", File, string], inputBinding: {prefix: --labels}, label: Labels, doc: "CSV table with a label for each patient, study, series or path: checked against the series"}
  slice_labels: {type: ["null", File, string], inputBinding: {prefix: --slice-labels}, label: Slice labels, doc: "CSV table with labels of single slices: checked with the labels"}
  classes: {type: "string?", inputBinding: {prefix: --classes}, label: Classes, doc: "Class names in order, separated by commas; the first is the negative class"}
  fold_count: {type: "int?", inputBinding: {prefix: --fold-count}, label: Folds, doc: "Folds that each class must have patients for"}
  min_slices: {type: "int?", inputBinding: {prefix: --min-slices}, label: Fewest slices, doc: "Slices that a series should have"}
  parameters: {type: ["null", "../types/index.yml#index_parameters"], inputBinding: {}, label: Parameters, doc: "The flags of the step, each with its default"}

outputs:
  shard_lists: {type: "File[]", outputBinding: {glob: "*.shard.jsonl"}, label: Shards, doc: "One series a line; identifying, stays at the site"}
  record: {type: File, outputBinding: {glob: index.run.json}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
