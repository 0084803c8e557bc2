cwlVersion: v1.2
class: CommandLineTool
label: Prepare the slices
doc: |
  Drops slices with no or little lung, crops a scan's slices to the body and resizes them in plane; HU stay HU.
  Window, view and resampling along the slices happen when a training reads.
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 1024}
  NetworkAccess: {networkAccess: false}
  SchemaDefRequirement: {types: [{$import: ../types/preprocess.yml}]}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-data:0.1.0"}
  SoftwareRequirement: {packages: [{package: claire-pipeline, version: ["0.1.0"]}]}
baseCommand: [claire, preprocess]
arguments: [--threads, $(runtime.cores)]

inputs:
  scans: {type: File, inputBinding: {prefix: --scans}, label: Scans, doc: "scans.zip of ingest: the scans of one shard"}
  lungs: {type: File, inputBinding: {prefix: --lungs}, label: Lung masks, doc: "lungs.zip of segment, of the same shard"}
  store: {type: "string?", inputBinding: {prefix: --store}, label: Store, doc: "Absolute path where the step is executed that keeps finished results"}
  parameters: {type: ["null", "../types/preprocess.yml#preprocess_parameters"], inputBinding: {}, label: Parameters, doc: "The flags of the step, each with its default"}

outputs:
  prepared: {type: File, outputBinding: {glob: "*.prepared.h5"}, format: "edam:format_3590", label: Prepared scans, doc: "HU slices and lung masks of each scan, with all that maps a voxel back to the patient"}
  rejects: {type: File, outputBinding: {glob: "*.preprocess.rejects.csv"}, format: "edam:format_3752", label: Rejects, doc: "Scans that were set aside, with the reason"}
  record: {type: File, outputBinding: {glob: "*.preprocess.run.json"}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
