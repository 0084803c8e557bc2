cwlVersion: v1.2
class: Workflow
label: Diagnose new patients
doc: |
  New chest CT and a model in; the diagnosis of each scan, the lesions that decided it, a page a patient and DICOM
  objects out. The steps are those that prepared and explained the model's cohort. Their options must be those that the
  model names: `claire predict MODEL SCANS` sets them, and apply refuses others.
requirements:
  ScatterFeatureRequirement: {}
  MultipleInputFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  InlineJavascriptRequirement: {}
  SchemaDefRequirement:
    types:
      - {$import: types/images.yml}
      - {$import: types/index.yml}
      - {$import: types/ingest.yml}
      - {$import: types/preprocess.yml}
      - {$import: types/apply.yml}
      - {$import: types/explain.yml}
      - {$import: types/deliver.yml}

inputs:
  model: {type: File, label: Model, doc: "model.zip of a finished run"}
  source: {type: [Directory, string], label: Series, doc: "Directory of DICOM series or NIfTI files, or its path at the site"}
  key: {type: [File, string], label: Key, doc: "Secret key of the pseudonyms, at least 16 bytes; any: it need not be that of the training"}
  private: {type: "string?", label: Private directory, doc: "Absolute path at the data site that receives the table of pseudonyms; else it is dropped"}
  store: {type: "string?", label: Store, doc: "Absolute path where networks run that keeps finished results"}
  data_store: {type: "string?", label: Store at the data, doc: "Absolute path at the data site that keeps finished data steps and pages"}
  seed: {type: int, default: 0, label: Seed, doc: "Seed of the infills of explain"}
  min_slices: {type: "int?", label: Fewest slices, doc: "Series with fewer slices are set aside; as the model's cohort"}
  seek_lesions: {type: boolean, default: true, label: Seek lesions, doc: "Whether the lesions that decided are sought; else only the probabilities are told"}
  images: {type: "types/images.yml#images", default: phantom, label: Pictures, doc: "Whose pictures are drawn and shown: none, phantom or all"}
  cores: {type: int, default: 1, label: Cores a job, doc: "Processor cores of the jobs that run networks"}
  index_options: {type: ["null", "types/index.yml#index_parameters"], label: Options of index, doc: "How series are found and chosen"}
  ingest_options: {type: ["null", "types/ingest.yml#ingest_parameters"], label: Options of ingest, doc: "How series become scans"}
  preprocess_options: {type: ["null", "types/preprocess.yml#preprocess_parameters"], label: Options of preprocess, doc: "Which slices are kept, and their size"}
  apply_options: {type: ["null", "types/apply.yml#apply_parameters"], label: Options of apply, doc: "Where the networks run"}
  explain_options: {type: ["null", "types/explain.yml#explain_parameters"], label: Options of explain, doc: "How scans are explained"}
  deliver_options: {type: ["null", "types/deliver.yml#deliver_parameters"], label: Options of deliver, doc: "What pages and objects hold"}

steps:
  index:
    run: tools/index.cwl
    in: {source: source, min_slices: min_slices, parameters: index_options}
    out: [shard_lists, record]
  ingest:
    run: tools/ingest.cwl
    scatter: shard
    in:
      shard: index/shard_lists
      source: source
      key: key
      private: private
      store: data_store
      min_slices: min_slices
      parameters: ingest_options
    out: [scans, rejects, record]
  segment:
    run: tools/segment.cwl
    scatter: scans
    in: {scans: ingest/scans, store: data_store}
    out: [lungs, rejects, record]
  preprocess:
    run: tools/preprocess.cwl
    scatter: [scans, lungs]
    scatterMethod: dotproduct
    in: {scans: ingest/scans, lungs: segment/lungs, store: data_store, parameters: preprocess_options}
    out: [prepared, rejects, record]
  apply:
    run: tools/apply.cwl
    in:
      model: model
      prepared: preprocess/prepared
      reject_tables: {source: [ingest/rejects, segment/rejects, preprocess/rejects], linkMerge: merge_flattened}
      records: {source: [index/record, ingest/record, preprocess/record], linkMerge: merge_flattened}
      store: store
      cores: cores
      parameters: apply_options
    out: [predictions, prediction_table, scans, record]
  explain:
    run: tools/explain.cwl
    when: $(inputs.wanted)
    in:
      wanted: seek_lesions
      model: model
      predictions: apply/predictions
      cohort: apply/scans
      images: images
      seed: seed
      return_saliency: {default: true}
      store: store
      cores: cores
      parameters: explain_options
    out: [saliency, overlays, lesions, lesion_table, record]
  deliver:
    run: tools/deliver.cwl
    in:
      model: model
      predictions: apply/predictions
      scans: apply/scans
      lesions: explain/lesions
      overlays: explain/overlays
      saliency: {source: explain/saliency, valueFrom: "$(self ? self[0] : null)"}
      volumes: ingest/scans
      shards: index/shard_lists
      reject_tables: {source: [ingest/rejects, segment/rejects, preprocess/rejects], linkMerge: merge_flattened}
      apply_record: apply/record
      source: source
      key: key
      images: images
      store: data_store
      parameters: deliver_options
    out: [index, pages, objects, record]

outputs:
  index_page: {type: File, outputSource: deliver/index, label: List of patients, doc: "A row per scan, with a link to the patient's page"}
  pages: {type: "File[]", outputSource: deliver/pages, label: Pages, doc: "A page per patient"}
  objects: {type: "File[]", outputSource: deliver/objects, label: DICOM objects, doc: "Lesions (SEG), pictures (SC) and report (SR) of each scan"}
  predictions: {type: File, outputSource: apply/predictions, label: Predictions, doc: "What the model says of each scan and patient"}
  prediction_table: {type: File, outputSource: apply/prediction_table, label: Predictions as a table, doc: "One row per scan"}
  rejects: {type: "File[]", outputSource: [ingest/rejects, segment/rejects, preprocess/rejects], linkMerge: merge_flattened, label: Rejects, doc: "Every series that was set aside, with the reason, one table per shard and step"}
  lesions: {type: "File?", outputSource: explain/lesions, label: Lesions, doc: "Ranked lesions of each scan"}
  lesion_table: {type: "File?", outputSource: explain/lesion_table, label: Lesions as a table, doc: "One row per lesion"}
  records:
    type: File[]
    outputSource: [index/record, ingest/record, segment/record, preprocess/record, apply/record, deliver/record]
    linkMerge: merge_flattened
    label: Records
    doc: What each step did, on which input, how long it took
  explain_record: {type: "File?", outputSource: explain/record, label: Record of explain, doc: "What explain did, where lesions were sought"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
