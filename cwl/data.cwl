cwlVersion: v1.2
class: Workflow
label: From DICOM series to one cohort
doc: |
  Finds the series, chooses one per acquisition, turns them into pseudonymised HU scans, masks their lungs, prepares
  their slices and joins them. Everything happens where the data lie; only the cohort and its tables go on.
requirements:
  ScatterFeatureRequirement: {}
  MultipleInputFeatureRequirement: {}
  SchemaDefRequirement: {types: [{$import: types/gantry_tilt.yml}]}

inputs:
  source: {type: [Directory, string], label: Series, doc: "Directory of DICOM series or NIfTI files, or its path at the site"}
  labels: {type: [File, string], label: Labels, doc: "CSV table with a label for each patient, study, series or path"}
  slice_labels: {type: ["null", File, string], label: Slice labels, doc: "CSV table with labels of single slices, where somebody gave them"}
  key: {type: [File, string], label: Key, doc: "Secret key of the pseudonyms, at least 16 bytes"}
  private: {type: "string?", label: Private directory, doc: "Absolute path at the site that receives the table of pseudonyms; else it is dropped"}
  shards: {type: int, default: 4, label: Shards, doc: "Parts that the series are cut into; they are worked on in parallel"}
  max_thickness: {type: "float?", label: Thickest slices, doc: "Slice thickness in mm up to which the thinnest series of an acquisition is preferred"}
  kernels: {type: "string?", label: Preferred kernels, doc: "Reconstruction kernels in order of preference, separated by commas"}
  min_slices: {type: "int?", label: Fewest slices, doc: "Series with fewer slices are set aside"}
  gantry_tilt: {type: types/gantry_tilt.yml#gantry_tilt, default: reject, label: Gantry tilt, doc: "reject or resample scans with a tilted gantry"}
  size: {type: "int?", label: Prepared size, doc: "Rows and columns of a prepared slice in pixels"}
  min_lung_box: {type: "float?", label: Smallest lung box, doc: "Share of a slice that the box around its lungs must cover"}
  min_lung_ratio: {type: "float?", label: Smallest lung ratio, doc: "Ratio of lung to the rest of a slice that it must reach"}
  min_lung_slices: {type: "int?", label: Fewest lung slices, doc: "Scans with fewer slices left by the filter are set aside"}
  classes: {type: "string?", label: Classes, doc: "Class names in order, separated by commas; the first is the negative class"}
  fold_count: {type: int, default: 5, label: Folds, doc: "Folds of the cross-validation, at least 3"}
  seed: {type: int, default: 0, label: Seed, doc: "Seed of the folds"}
  max_reject_fraction: {type: "float?", label: Most rejects, doc: "Share of chosen scans that may be set aside before the cohort is refused"}

steps:
  index:
    run: tools/index.cwl
    in: {source: source, shards: shards, max_thickness: max_thickness, kernels: kernels, min_slices: min_slices}
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
      gantry_tilt: gantry_tilt
      min_slices: min_slices
    out: [scans, rejects, record]
  segment:
    run: tools/segment.cwl
    scatter: scans
    in: {scans: ingest/scans}
    out: [lungs, rejects, record]
  preprocess:
    run: tools/preprocess.cwl
    scatter: [scans, lungs]
    scatterMethod: dotproduct
    in:
      scans: ingest/scans
      lungs: segment/lungs
      size: size
      min_lung_box: min_lung_box
      min_lung_ratio: min_lung_ratio
      min_slices: min_lung_slices
    out: [prepared, rejects, record]
  cohort:
    run: tools/cohort.cwl
    in:
      prepared: preprocess/prepared
      rejects: {source: [ingest/rejects, segment/rejects, preprocess/rejects], linkMerge: merge_flattened}
      fold_count: fold_count
      seed: seed
      classes: classes
      max_reject_fraction: max_reject_fraction
    out: [cohort, cohort_summary, scans, folds, rejects, record]

outputs:
  cohort: {type: File, outputSource: cohort/cohort, label: Cohort, doc: "The one file of voxels that training reads"}
  cohort_summary: {type: File, outputSource: cohort/cohort_summary, label: Cohort summary, doc: "Hash, classes and counts of the cohort"}
  scans: {type: File, outputSource: cohort/scans, label: Scans, doc: "A line a scan: pseudonyms, label, scanner, lungs"}
  folds: {type: File, outputSource: cohort/folds, label: Folds, doc: "A line a patient: its fold or fixed split"}
  rejects: {type: File, outputSource: cohort/rejects, label: Rejects, doc: "Every series that did not enter, with the reason"}
  volumes: {type: "File[]", outputSource: ingest/scans, label: Volumes, doc: "Pseudonymised HU scans, a file a shard"}
  lungs: {type: "File[]", outputSource: segment/lungs, label: Lung masks, doc: "Lung masks and their quality facts, a file a shard"}
  records:
    type: File[]
    outputSource: [index/record, ingest/record, segment/record, preprocess/record, cohort/record]
    linkMerge: merge_flattened
    label: Records
    doc: What each step did, on which input, how long it took
