cwlVersion: v1.2
class: Workflow
label: The CLAIRE pipeline
doc: |
  Chest CT in, every variant of the grid trained and compared, the lesions that decided shown, one report out.
  What several steps share is an input of its own; the flags of a single step stand in the record named after it.
requirements:
  SubworkflowFeatureRequirement: {}
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
      - {$import: types/cohort.yml}
      - {$import: types/train.yml}
      - {$import: types/evaluate.yml}
      - {$import: types/explain.yml}
      - {$import: types/bundle.yml}
      - {$import: types/report.yml}

inputs:
  source: {type: [Directory, string], label: Series, doc: "Directory of DICOM series or NIfTI files, or its path at the site"}
  labels: {type: [File, string], label: Labels, doc: "CSV table with a label for each patient, study, series or path"}
  slice_labels: {type: ["null", File, string], label: Slice labels, doc: "CSV table with labels of single slices, where somebody gave them"}
  key: {type: [File, string], label: Key, doc: "Secret key of the pseudonyms, at least 16 bytes"}
  private: {type: "string?", label: Private directory, doc: "Absolute path at the data site that receives the table of pseudonyms; else it is dropped"}
  grid: {type: File, label: Grid, doc: "YAML grid of variants"}
  pretrained: {type: "File[]?", label: Pretrained weights, doc: "Weights files that variants of the grid name as their pretraining"}
  store: {type: "string?", label: Store, doc: "Absolute path where trainings and saliency are executed that keeps their finished results"}
  data_store: {type: "string?", label: Store at the data, doc: "Absolute path at the data site that keeps finished data steps, evaluations and reports"}
  classes: {type: "string?", label: Classes, doc: "Class names in order, separated by commas; the first is the negative class. Asked for where it is not known"}
  fold_count: {type: int, default: 5, label: Folds, doc: "Folds of the cross-validation, at least 3; 1 where the labels table fixes every split"}
  seed: {type: int, default: 0, label: Seed, doc: "Seed of folds, trainings, intervals and saliency"}
  min_slices: {type: "int?", label: Fewest slices, doc: "Series with fewer slices are set aside (default 20)"}
  explain_folds: {type: "int[]?", label: Explained folds, doc: "Folds whose test scans are explained; all by default, [] for none"}
  images: {type: "types/images.yml#images", default: phantom, label: Pictures, doc: "Whose pictures are drawn and stand in the report: none, phantom or all"}
  return_saliency: {type: boolean, default: false, label: Return saliency, doc: "Return the saliency volumes of the winner too"}
  cores: {type: int, default: 1, label: Cores a job, doc: "Processor cores of one training or saliency job"}
  index_options: {type: ["null", "types/index.yml#index_parameters"], label: Options of index, doc: "How series are found and chosen"}
  ingest_options: {type: ["null", "types/ingest.yml#ingest_parameters"], label: Options of ingest, doc: "How series become scans"}
  preprocess_options: {type: ["null", "types/preprocess.yml#preprocess_parameters"], label: Options of preprocess, doc: "Which slices are kept, and their size"}
  cohort_options: {type: ["null", "types/cohort.yml#cohort_parameters"], label: Options of cohort, doc: "When a cohort is refused"}
  train_options: {type: ["null", "types/train.yml#train_parameters"], label: Options of train, doc: "Where networks are trained"}
  evaluate_options: {type: ["null", "types/evaluate.yml#evaluate_parameters"], label: Options of evaluate, doc: "How variants are compared"}
  explain_options: {type: ["null", "types/explain.yml#explain_parameters"], label: Options of explain, doc: "How scans are explained"}
  bundle_options: {type: ["null", "types/bundle.yml#bundle_parameters"], label: Options of bundle, doc: "What the model file says and holds"}
  report_options: {type: ["null", "types/report.yml#report_parameters"], label: Options of report, doc: "What the page shows"}

steps:
  plan:
    run: tools/plan.cwl
    in: {grid: grid, fold_count: fold_count, seed: seed, pretrained: pretrained, explain_folds: explain_folds}
    out: [variants, variant, fold, pretraining, record]
  data:
    run: data.cwl
    in:
      source: source
      labels: labels
      slice_labels: slice_labels
      key: key
      private: private
      classes: classes
      fold_count: fold_count
      seed: seed
      min_slices: min_slices
      data_store: data_store
      index_options: index_options
      ingest_options: ingest_options
      preprocess_options: preprocess_options
      cohort_options: cohort_options
    out: [cohort_file, cohort_summary, scans, folds, rejects, records]
  experiment:
    run: experiment.cwl
    in:
      cohort: data/cohort_file
      cohort_summary: data/cohort_summary
      scans: data/scans
      folds: data/folds
      variants: plan/variants
      variant: plan/variant
      fold: plan/fold
      pretraining: plan/pretraining
      pretrained: pretrained
      explain_folds: explain_folds
      seed: seed
      store: store
      data_store: data_store
      cores: cores
      train_options: train_options
      evaluate_options: evaluate_options
    out: [leaderboard, metrics, comparisons, curves, winner, winner_positions, explained_positions, judge_positions, weights, runs, records]
  pick:
    run: expressions/pick.cwl
    scatter: position
    in:
      position: experiment/winner_positions
      weights: {source: experiment/weights, valueFrom: "$(self[inputs.position])"}
      run: {source: experiment/runs, valueFrom: "$(self[inputs.position])"}
    out: [picked_weights, picked_run]
  explain:
    run: tools/explain.cwl
    scatter: [position, judge_position]
    scatterMethod: dotproduct
    in:
      position: experiment/explained_positions
      judge_position: experiment/judge_positions
      weights: {source: experiment/weights, valueFrom: "$(self[inputs.position])"}
      run: {source: experiment/runs, valueFrom: "$(self[inputs.position])"}
      judge: {source: experiment/weights, valueFrom: "$(inputs.judge_position < 0 ? null : self[inputs.judge_position])"}
      winner: experiment/winner
      cohort: data/cohort_file
      folds: data/folds
      images: images
      seed: seed
      return_saliency: return_saliency
      cores: cores
      store: store
      parameters: explain_options
    out: [saliency, overlays, lesions, lesion_table, explained_weights, record]
  bundle:
    run: tools/bundle.cwl
    in:
      weights: pick/picked_weights
      runs: pick/picked_run
      winner: experiment/winner
      metrics: experiment/metrics
      cohort: data/cohort_file
      cohort_summary: data/cohort_summary
      scans: data/scans
      folds: data/folds
      lesions: explain/lesions
      records: data/records
      store: data_store
      parameters: bundle_options
    out: [model, record]
  report:
    run: tools/report.cwl
    in:
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
      records: {source: [plan/record, data/records, experiment/records, explain/record, bundle/record], linkMerge: merge_flattened}
      images: images
      store: data_store
      parameters: report_options
    out: [page, crate, record]

outputs:
  page: {type: File, outputSource: report/page, label: Report, doc: "Everything in one self-contained page"}
  crate: {type: File, outputSource: report/crate, label: Provenance, doc: "Workflow Run RO-Crate metadata"}
  leaderboard: {type: File, outputSource: experiment/leaderboard, label: Leaderboard, doc: "One row per variant, with intervals"}
  metrics: {type: File, outputSource: experiment/metrics, label: Metrics, doc: "Every figure of every variant, with intervals"}
  comparisons: {type: File, outputSource: experiment/comparisons, label: Comparisons, doc: "Variants against the reference and the winner"}
  curves: {type: File, outputSource: experiment/curves, label: Curves, doc: "ROC, precision-recall, calibration and decision curves"}
  winner: {type: File, outputSource: experiment/winner, label: Winner, doc: "The winner and the positions of its runs"}
  winner_weights: {type: "File[]", outputSource: pick/picked_weights, label: Winner's weights, doc: "Weights of the winner's run of each fold"}
  winner_runs: {type: "File[]", outputSource: pick/picked_run, label: Winner's runs, doc: "Predictions and history of the winner's run of each fold"}
  model: {type: File, outputSource: bundle/model, label: Model, doc: "The winner in one file, for the diagnosis of new scans"}
  cohort_summary: {type: File, outputSource: data/cohort_summary, label: Cohort summary, doc: "Hash, classes and counts of the cohort"}
  scans: {type: File, outputSource: data/scans, label: Scans, doc: "One row per scan: pseudonyms, label, scanner, lungs"}
  folds: {type: File, outputSource: data/folds, label: Folds, doc: "One row per patient: its fold or fixed split"}
  rejects: {type: File, outputSource: data/rejects, label: Rejects, doc: "Every series that did not enter, with the reason"}
  lesions: {type: "File[]", outputSource: explain/lesions, label: Lesions, doc: "Ranked lesions, gates and methods of each explained fold"}
  lesion_tables: {type: "File[]", outputSource: explain/lesion_table, label: Lesions as tables, doc: "One row per lesion, one table per explained fold"}
  overlays: {type: "File[]", outputSource: explain/overlays, label: Overlays, doc: "Pictures of the explained scans, by the policy of images"}
  saliency:
    type: {type: array, items: {type: array, items: File}}
    outputSource: explain/saliency
    label: Saliency volumes
    doc: Saliency maps and label maps of lesions of each explained fold, where asked for
  explained_weights:
    type: {type: array, items: {type: array, items: File}}
    outputSource: explain/explained_weights
    label: Explained networks
    doc: Weights of the explained networks, where asked for
  records:
    type: File[]
    outputSource: [plan/record, data/records, experiment/records, explain/record, bundle/record, report/record]
    linkMerge: merge_flattened
    label: Records
    doc: What each step did, on which input, how long it took

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
