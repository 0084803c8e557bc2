cwlVersion: v1.2
class: CommandLineTool
label: Deliver the results
doc: |
  Writes what people use: a page a patient with the decision, the lesions that decided and the pictures, and the same
  as DICOM objects (SEG, SC, SR), marked for research use only.
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 2048}
  NetworkAccess: {networkAccess: false}
  InlineJavascriptRequirement: {expressionLib: [{$include: ../expressions/manifest.js}]}
  SchemaDefRequirement:
    types:
      - {$import: ../types/deliver.yml}
      - {$import: ../types/images.yml}
  InitialWorkDirRequirement:
    listing:
      - {entryname: volumes.txt, entry: $(manifest(inputs.volumes))}
      - {entryname: shards.txt, entry: $(manifest(inputs.shards))}
      - {entryname: reject_tables.txt, entry: $(manifest(inputs.reject_tables))}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-data:0.1.0"}
  SoftwareRequirement: {packages: [{package: claire-pipeline, version: ["0.1.0"]}]}
baseCommand: [claire, deliver]
arguments: [--threads, $(runtime.cores), --volumes, volumes.txt, --shards, shards.txt, --reject-tables, reject_tables.txt]

inputs:
  model: {type: File, inputBinding: {prefix: --model}, label: Model, doc: "model.zip of bundle"}
  predictions: {type: File, inputBinding: {prefix: --predictions}, label: Predictions, doc: "predictions.json of apply"}
  scans: {type: File, inputBinding: {prefix: --scans}, label: Scans, doc: "scans.h5 of apply"}
  lesions: {type: "File?", inputBinding: {prefix: --lesions}, label: Lesions, doc: "scans.lesions.json of explain"}
  overlays: {type: "File?", inputBinding: {prefix: --overlays}, label: Overlays, doc: "scans.overlays.zip of explain"}
  saliency: {type: "File?", inputBinding: {prefix: --saliency}, label: Saliency volumes, doc: "scans.saliency.zip of explain, which holds the label map of lesions"}
  volumes: {type: "File[]", label: Volumes, doc: "scans.zip files of ingest"}
  shards: {type: "File[]", label: Shards, doc: "shard.jsonl files of index"}
  reject_tables: {type: "File[]", label: Tables of rejects, doc: "rejects.csv files of the steps before"}
  apply_record: {type: "File?", inputBinding: {prefix: --apply-record}, label: Record of apply, doc: "When the model was run, for objects with the identity"}
  source: {type: [Directory, string], inputBinding: {prefix: --source}, label: Series, doc: "The directory that index was pointed to, or its path at the site"}
  key: {type: [File, string], inputBinding: {prefix: --key}, label: Key, doc: "Secret key of the pseudonyms, as ingest had it"}
  images: {type: "../types/images.yml#images", default: phantom, inputBinding: {prefix: --images}, label: Pictures, doc: "Whose pictures are shown: none, phantom or all"}
  store: {type: "string?", inputBinding: {prefix: --store}, label: Store, doc: "Absolute path where the step is executed that keeps finished results"}
  parameters: {type: ["null", "../types/deliver.yml#deliver_parameters"], inputBinding: {}, label: Parameters, doc: "The flags of the step, each with its default"}

outputs:
  index: {type: File, outputBinding: {glob: index.html}, format: "edam:format_2331", label: List of patients, doc: "A row per scan, with a link to the patient's page"}
  pages: {type: "File[]", outputBinding: {glob: "P*.html"}, format: "edam:format_2331", label: Pages, doc: "A page per patient"}
  objects: {type: "File[]", outputBinding: {glob: "*.dcm"}, format: "edam:format_3548", label: DICOM objects, doc: "Lesions, pictures and report of each scan"}
  record: {type: File, outputBinding: {glob: deliver.run.json}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
