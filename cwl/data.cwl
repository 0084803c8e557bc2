cwlVersion: v1.2
class: Workflow
label: From DICOM series to one cohort
doc: |
  Finds the series, chooses one per acquisition, turns them into pseudonymised HU scans, masks their lungs, prepares
  their slices and joins them. Everything happens where the data lie; only the cohort and its tables go on.
requirements:
  ScatterFeatureRequirement: {}
  MultipleInputFeatureRequirement: {}
  SchemaDefRequirement:
    types:
      - {$import: types/index.yml}
      - {$import: types/ingest.yml}
      - {$import: types/preprocess.yml}
      - {$import: types/cohort.yml}

inputs:
  source: {type: [Directory, string], label: Series, doc: "Directory of DICOM series or NIfTI files, or its path at the site"}
  labels: {type: [File, string], label: Labels, doc: "CSV table with a label for each patient, study, series or path"}
  slice_labels: {type: ["null", File, string], label: Slice labels, doc: "CSV table with labels of single slices, where somebody gave them"}
  key: {type: [File, string], label: Key, doc: "Secret key of the pseudonyms, at least 16 bytes"}
  private: {type: "string?", label: Private directory, doc: "Absolute path at the data site that receives the table of pseudonyms; else it is dropped"}
  classes: {type: "string?", label: Classes, doc: "Class names in order, separated by commas; the first is the negative class. Asked for where it is not known"}
  fold_count: {type: int, default: 5, label: Folds, doc: "Folds of the cross-validation, at least 3; 1 where the labels table fixes every split"}
  seed: {type: int, default: 0, label: Seed, doc: "Seed of the folds"}
  min_slices: {type: "int?", label: Fewest slices, doc: "Series with fewer slices are set aside (default 20)"}
  data_store: {type: "string?", label: Store at the data, doc: "Absolute path at the data site that keeps finished data steps, evaluations and reports"}
  index_options: {type: ["null", "types/index.yml#index_parameters"], label: Options of index, doc: "How series are found and chosen"}
  ingest_options: {type: ["null", "types/ingest.yml#ingest_parameters"], label: Options of ingest, doc: "How series become scans"}
  preprocess_options: {type: ["null", "types/preprocess.yml#preprocess_parameters"], label: Options of preprocess, doc: "Which slices are kept, and their size"}
  cohort_options: {type: ["null", "types/cohort.yml#cohort_parameters"], label: Options of cohort, doc: "When a cohort is refused"}

steps:
  index:
    run: tools/index.cwl
    in: {source: source, labels: labels, slice_labels: slice_labels, classes: classes, fold_count: fold_count, min_slices: min_slices, parameters: index_options}
    out: [shard_lists, record]
  ingest:
    run: tools/ingest.cwl
    scatter: shard
    in:
      shard: index/shard_lists
      source: source
      labels: labels
      slice_labels: slice_labels
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
  cohort:
    run: tools/cohort.cwl
    in:
      prepared: preprocess/prepared
      reject_tables: {source: [ingest/rejects, segment/rejects, preprocess/rejects], linkMerge: merge_flattened}
      fold_count: fold_count
      seed: seed
      classes: classes
      store: data_store
      parameters: cohort_options
    out: [cohort, cohort_summary, scans, folds, rejects, record]

outputs:
  cohort_file: {type: File, outputSource: cohort/cohort, label: Cohort, doc: "The one file of voxels that training reads"}
  cohort_summary: {type: File, outputSource: cohort/cohort_summary, label: Cohort summary, doc: "Hash, classes and counts of the cohort"}
  scans: {type: File, outputSource: cohort/scans, label: Scans, doc: "One row per scan: pseudonyms, label, scanner, lungs"}
  folds: {type: File, outputSource: cohort/folds, label: Folds, doc: "One row per patient: its fold or fixed split"}
  rejects: {type: File, outputSource: cohort/rejects, label: Rejects, doc: "Every series that did not enter, with the reason"}
  volumes: {type: "File[]", outputSource: ingest/scans, label: Volumes, doc: "Pseudonymised HU scans, one file per shard"}
  lungs: {type: "File[]", outputSource: segment/lungs, label: Lung masks, doc: "Lung masks and their quality facts, one file per shard"}
  records:
    type: File[]
    outputSource: [index/record, ingest/record, segment/record, preprocess/record, cohort/record]
    linkMerge: merge_flattened
    label: Records
    doc: What each step did, on which input, how long it took

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
