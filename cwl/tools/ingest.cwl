cwlVersion: v1.2
class: CommandLineTool
label: Make pseudonymised scans
doc: |
  Turns the chosen series of a shard into HU scans with the right geometry, replaces identifiers by keyed pseudonyms
  and joins the labels. What cannot be used is set aside with a reason.
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 2048}
  NetworkAccess: {networkAccess: false}
  SchemaDefRequirement: {types: [{$import: ../types/ingest.yml}]}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-data:0.1.0"}
  SoftwareRequirement: {packages: [{package: claire-pipeline, version: ["0.1.0"]}]}
baseCommand: [claire, ingest]
arguments: [--threads, $(runtime.cores)]

inputs:
  source: {type: [Directory, string], inputBinding: {prefix: --source}, label: Series, doc: "The directory that index was pointed to, or its path at the site"}
  shard: {type: File, inputBinding: {prefix: --shard}, label: Shard, doc: "NNNN.shard.jsonl of index"}
  labels: {type: ["null", File, string], inputBinding: {prefix: --labels}, label: Labels, doc: "CSV table with a label for each patient, study, series or path; without it scans enter unlabelled, to be predicted"}
  slice_labels: {type: ["null", File, string], inputBinding: {prefix: --slice-labels}, label: Slice labels, doc: "CSV table with labels of single slices"}
  key: {type: [File, string], inputBinding: {prefix: --key}, label: Key, doc: "Secret key of the pseudonyms, at least 16 bytes"}
  private: {type: "string?", inputBinding: {prefix: --private}, label: Private directory, doc: "Absolute path at the site that receives the table of pseudonyms; else it is dropped"}
  min_slices: {type: "int?", inputBinding: {prefix: --min-slices}, label: Fewest slices, doc: "Series with fewer slices are set aside"}
  store: {type: "string?", inputBinding: {prefix: --store}, label: Store, doc: "Absolute path where the step is executed that keeps finished results"}
  parameters: {type: ["null", "../types/ingest.yml#ingest_parameters"], inputBinding: {}, label: Parameters, doc: "The flags of the step, each with its default"}

outputs:
  scans: {type: File, outputBinding: {glob: "*.scans.zip"}, format: "edam:format_3987", label: Scans, doc: "Pseudonymised HU scans with their facts"}
  rejects: {type: File, outputBinding: {glob: "*.ingest.rejects.csv"}, format: "edam:format_3752", label: Rejects, doc: "Series that were set aside, with the reason"}
  record: {type: File, outputBinding: {glob: "*.ingest.run.json"}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
