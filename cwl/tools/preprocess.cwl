cwlVersion: v1.2
class: CommandLineTool
label: Prepare the slices
doc: |
  Drops slices with no or little lung, crops a scan's slices to the body and resizes them in plane; HU stay HU. Window,
  view and resampling along the slices happen when a training reads.
$namespaces: {edam: "http://edamontology.org/"}
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 1024}
  NetworkAccess: {networkAccess: false}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-data:0.1.0"}
baseCommand: [claire, preprocess]
arguments: [--threads, $(runtime.cores)]

inputs:
  scans: {type: File, inputBinding: {prefix: --scans}, label: Scans, doc: "scans.zip of ingest: the scans of one shard"}
  lungs: {type: File, inputBinding: {prefix: --lungs}, label: Lung masks, doc: "lungs.zip of segment, of the same shard"}
  size: {type: "int?", inputBinding: {prefix: --size}, label: Prepared size, doc: "Rows and columns of a prepared slice in pixels"}
  min_lung_box: {type: "float?", inputBinding: {prefix: --min-lung-box}, label: Smallest lung box, doc: "Share of a slice that the box around its lungs must cover"}
  min_lung_ratio: {type: "float?", inputBinding: {prefix: --min-lung-ratio}, label: Smallest lung ratio, doc: "Ratio of lung to the rest of a slice that it must reach"}
  min_slices: {type: "int?", inputBinding: {prefix: --min-slices}, label: Fewest lung slices, doc: "Scans with fewer slices left by the filter are set aside"}

outputs:
  prepared: {type: File, outputBinding: {glob: "*.prepared.h5"}, format: "edam:format_3590", label: Prepared scans, doc: "HU slices and lung masks of each scan, with all that maps a voxel back to the patient"}
  rejects: {type: File, outputBinding: {glob: "*.preprocess.rejects.csv"}, format: "edam:format_3752", label: Rejects, doc: "Scans that were set aside, with the reason"}
  record: {type: File, outputBinding: {glob: "*.preprocess.run.json"}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}
