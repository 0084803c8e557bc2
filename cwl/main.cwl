cwlVersion: v1.2
class: Workflow
label: The CLAIRE pipeline
doc: |
  Chest CT in, every variant of the grid trained and compared, the lesions that decided shown, one report out.
requirements:
  SubworkflowFeatureRequirement: {}
  ScatterFeatureRequirement: {}
  MultipleInputFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  InlineJavascriptRequirement: {}
  SchemaDefRequirement: {types: [{$import: types/images.yml}, {$import: types/gantry_tilt.yml}]}

inputs:
  source: {type: [Directory, string], label: Series, doc: "Directory of DICOM series or NIfTI files, or its path at the site"}
  labels: {type: [File, string], label: Labels, doc: "CSV table with a label for each patient, study, series or path"}
  slice_labels: {type: ["null", File, string], label: Slice labels, doc: "CSV table with labels of single slices, where somebody gave them"}
  key: {type: [File, string], label: Key, doc: "Secret key of the pseudonyms, at least 16 bytes"}
  private: {type: "string?", label: Private directory, doc: "Absolute path at the data site that receives the table of pseudonyms; else it is dropped"}
  store: {type: "string?", label: Store, doc: "Absolute path where trainings are executed that keeps finished ones"}
  grid: {type: File, label: Grid, doc: "YAML grid of variants"}
  weights: {type: "File[]?", label: Weights, doc: "Weights files that variants of the grid name as their pretraining"}
  shards: {type: int, default: 4, label: Shards, doc: "Parts that the series are cut into; they are worked on in parallel"}
  fold_count: {type: int, default: 5, label: Folds, doc: "Folds of the cross-validation, at least 3"}
  seed: {type: int, default: 0, label: Seed, doc: "Seed of folds, trainings, intervals and saliency"}
  classes: {type: "string?", label: Classes, doc: "Class names in order, separated by commas; the first is the negative class"}
  explain_folds: {type: "int[]?", label: Explained folds, doc: "Folds whose test scans are explained; all by default"}
  images: {type: types/images.yml#images, default: phantom, label: Pictures, doc: "Whose pictures stand in the report: none, phantom or all"}
  keep_weights: {type: boolean, default: false, label: Keep weights, doc: "Return the explained networks' weights"}
  title: {type: "string?", label: Title, doc: "Title of the report"}
  cores: {type: int, default: 1, label: Cores a training, doc: "Processor cores of one training or saliency job"}
  max_thickness: {type: "float?", label: Thickest slices, doc: "Slice thickness in mm up to which the thinnest series of an acquisition is preferred"}
  kernels: {type: "string?", label: Preferred kernels, doc: "Reconstruction kernels in order of preference, separated by commas"}
  min_slices: {type: "int?", label: Fewest slices, doc: "Series with fewer slices are set aside"}
  gantry_tilt: {type: types/gantry_tilt.yml#gantry_tilt, default: reject, label: Gantry tilt, doc: "reject or resample scans with a tilted gantry"}
  size: {type: "int?", label: Prepared size, doc: "Rows and columns of a prepared slice in pixels"}
  min_lung_box: {type: "float?", label: Smallest lung box, doc: "Share of a slice that the box around its lungs must cover"}
  min_lung_ratio: {type: "float?", label: Smallest lung ratio, doc: "Ratio of lung to the rest of a slice that it must reach"}
  min_lung_slices: {type: "int?", label: Fewest lung slices, doc: "Scans with fewer slices left by the filter are set aside"}
  max_reject_fraction: {type: "float?", label: Most rejects, doc: "Share of chosen scans that may be set aside before the cohort is refused"}
  reference: {type: "string?", label: Reference, doc: "Id of the variant that all others are compared with"}
  prevalence: {type: "float?", label: Prevalence, doc: "Prevalence for the predictive values; the cohort's by default"}
  refine_steps: {type: "int?", label: Refinement steps, doc: "Adversarial training steps of the explained network; 0 leaves it as it is"}
  heal_steps: {type: "int?", label: Healing steps, doc: "Training steps of the healer"}
  explain_limit: {type: "int?", label: Explained scans, doc: "Most scans explained a fold; 0 for all"}

steps:
  plan:
    run: tools/plan.cwl
    in: {grid: grid, fold_count: fold_count, seed: seed, weights: weights}
    out: [variants, fold, pretraining, record]
  data:
    run: data.cwl
    in:
      source: source
      labels: labels
      slice_labels: slice_labels
      key: key
      private: private
      shards: shards
      max_thickness: max_thickness
      kernels: kernels
      min_slices: min_slices
      gantry_tilt: gantry_tilt
      size: size
      min_lung_box: min_lung_box
      min_lung_ratio: min_lung_ratio
      min_lung_slices: min_lung_slices
      classes: classes
      fold_count: fold_count
      seed: seed
      max_reject_fraction: max_reject_fraction
    out: [cohort, cohort_summary, scans, folds, rejects, records]
  experiment:
    run: experiment.cwl
    in:
      cohort: data/cohort
      cohort_summary: data/cohort_summary
      scans: data/scans
      folds: data/folds
      variants: plan/variants
      fold: plan/fold
      pretraining: plan/pretraining
      weights: weights
      seed: seed
      store: store
      cores: cores
      reference: reference
      prevalence: prevalence
    out: [leaderboard, metrics, comparisons, curves, winner, winner_folds, winner_file, networks, runs, records]
  explain:
    run: tools/explain.cwl
    scatter: [position, fold]
    scatterMethod: dotproduct
    when: $(inputs.wanted === null || inputs.wanted.indexOf(inputs.fold) >= 0)
    in:
      wanted: explain_folds
      position: experiment/winner
      fold: experiment/winner_folds
      weights: {source: experiment/networks, valueFrom: "$(self[inputs.position])"}
      run: {source: experiment/runs, valueFrom: "$(self[inputs.position])"}
      cohort: data/cohort
      folds: data/folds
      images: images
      seed: seed
      refine_steps: refine_steps
      heal_steps: heal_steps
      limit: explain_limit
      keep_weights: keep_weights
      cores: cores
    out: [saliency, overlays, lesions, lesions_table, explained, record]
  report:
    run: tools/report.cwl
    in:
      title: title
      leaderboard: experiment/leaderboard
      metrics: experiment/metrics
      comparisons: experiment/comparisons
      curves: experiment/curves
      cohort_summary: data/cohort_summary
      scans: data/scans
      folds: data/folds
      rejects: data/rejects
      lesions: explain/lesions
      overlays: explain/overlays
      records: {source: [plan/record, data/records, experiment/records, explain/record], linkMerge: merge_flattened, pickValue: all_non_null}
      images: images
    out: [report, crate, record]

outputs:
  report: {type: File, outputSource: report/report, label: Report, doc: "Everything in one self-contained page"}
  crate: {type: File, outputSource: report/crate, label: Provenance, doc: "Workflow Run RO-Crate metadata"}
  leaderboard: {type: File, outputSource: experiment/leaderboard, label: Leaderboard, doc: "A line a variant, with intervals"}
  metrics: {type: File, outputSource: experiment/metrics, label: Metrics, doc: "Every figure of every variant, with intervals"}
  comparisons: {type: File, outputSource: experiment/comparisons, label: Comparisons, doc: "Variants against the reference and the winner"}
  curves: {type: File, outputSource: experiment/curves, label: Curves, doc: "ROC, precision-recall, calibration and decision curves"}
  winner: {type: File, outputSource: experiment/winner_file, label: Winner, doc: "The winner and the positions of its runs"}
  cohort_summary: {type: File, outputSource: data/cohort_summary, label: Cohort summary, doc: "Hash, classes and counts of the cohort"}
  scans: {type: File, outputSource: data/scans, label: Scans, doc: "A line a scan: pseudonyms, label, scanner, lungs"}
  folds: {type: File, outputSource: data/folds, label: Folds, doc: "A line a patient: its fold or fixed split"}
  rejects: {type: File, outputSource: data/rejects, label: Rejects, doc: "Every series that did not enter, with the reason"}
  lesions:
    type: File[]
    outputSource: explain/lesions
    pickValue: all_non_null
    label: Lesions
    doc: Ranked lesions, gates and methods of each explained fold
  lesions_table:
    type: File[]
    outputSource: explain/lesions_table
    pickValue: all_non_null
    label: Lesions as tables
    doc: A line a lesion
  overlays:
    type: File[]
    outputSource: explain/overlays
    pickValue: all_non_null
    label: Overlays
    doc: Pictures of the explained scans, by the policy of images
  explained_weights:
    type: File[]
    outputSource: explain/explained
    pickValue: all_non_null
    label: Explained networks
    doc: Weights of the explained networks, where asked for
  records:
    type: File[]
    outputSource: [plan/record, data/records, experiment/records, explain/record, report/record]
    linkMerge: merge_flattened
    pickValue: all_non_null
    label: Records
    doc: What each step did, on which input, how long it took
