cwlVersion: v1.2
class: CommandLineTool
label: Mask the lungs
doc: |
  Masks the left and right lung of every scan of a shard without any weights: HU thresholds, components and shape.
  Consolidations and pleural ground glass stay inside. A scan without lungs is set aside under a reason.
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 2048}
  NetworkAccess: {networkAccess: false}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-data:0.1.0"}
  SoftwareRequirement: {packages: [{package: claire-pipeline, version: ["0.1.0"]}]}
baseCommand: [claire, segment]
arguments: [--threads, $(runtime.cores)]

inputs:
  scans: {type: File, inputBinding: {prefix: --scans}, label: Scans, doc: "scans.zip of ingest: the scans of one shard"}
  store: {type: "string?", inputBinding: {prefix: --store}, label: Store, doc: "Absolute path where the step is executed that keeps finished results"}

outputs:
  lungs: {type: File, outputBinding: {glob: "*.lungs.zip"}, format: "edam:format_3987", label: Lung masks, doc: "Mask of right and left lung and quality facts of each scan"}
  rejects: {type: File, outputBinding: {glob: "*.segment.rejects.csv"}, format: "edam:format_3752", label: Rejects, doc: "Scans that were set aside, with the reason"}
  record: {type: File, outputBinding: {glob: "*.segment.run.json"}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
