cwlVersion: v1.2
class: CommandLineTool
label: Find the series
doc: |
  Finds the DICOM series and NIfTI files under a directory from their headers alone, chooses one per acquisition by a
  rule and cuts them into shards of similar size. It rejects nothing: what was not chosen stands there with the reason.
  The shards hold paths and UIDs and stay at the site.
$namespaces: {edam: "http://edamontology.org/"}
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 1024}
  NetworkAccess: {networkAccess: false}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-data:0.1.0"}
baseCommand: [claire, index]
arguments: [--threads, $(runtime.cores)]

inputs:
  source: {type: [Directory, string], inputBinding: {prefix: --source}, label: Series, doc: "Directory of DICOM series or NIfTI files, or its path at the site"}
  shards: {type: "int?", inputBinding: {prefix: --shards}, label: Shards, doc: "Parts that the series are cut into; they are worked on in parallel"}
  max_thickness: {type: "float?", inputBinding: {prefix: --max-thickness}, label: Thickest slices, doc: "Slice thickness in mm that a series should not exceed"}
  kernels: {type: "string?", inputBinding: {prefix: --kernels}, label: Preferred kernels, doc: "Reconstruction kernels, best first, separated by commas; * stands for any text"}
  min_slices: {type: "int?", inputBinding: {prefix: --min-slices}, label: Fewest slices, doc: "Slices that a series should have"}

outputs:
  shard_lists: {type: "File[]", outputBinding: {glob: "*.shard.jsonl"}, label: Shards, doc: "A line a series; identifying, stays at the site"}
  record: {type: File, outputBinding: {glob: index.run.json}, format: "edam:format_3464", label: Record, doc: "What the step did and how long it took"}
