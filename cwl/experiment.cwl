cwlVersion: v1.2
class: Workflow
label: From a cohort to a leaderboard
doc: |
  Trains every variant on every fold, compares them and names the positions of the winner's runs. The plan comes from
  main.cwl, which makes it beside the data steps: a grid that is wrong is refused before anything costs time. What the
  store has is collected by one job, and only the rest is trained: weights and runs are those collected and then those
  trained, and positions count them in this order. evaluate compares them in the order of the plan.
requirements:
  ScatterFeatureRequirement: {}
  MultipleInputFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  InlineJavascriptRequirement: {}
  SchemaDefRequirement: {types: [{$import: types/train.yml}, {$import: types/evaluate.yml}]}

inputs:
  cohort: {type: File, label: Cohort, doc: "cohort.h5 of data.cwl"}
  cohort_summary: {type: File, label: Cohort summary, doc: "cohort.json of data.cwl"}
  scans: {type: File, label: Scans, doc: "scans.csv of data.cwl"}
  folds: {type: File, label: Folds, doc: "folds.csv of data.cwl"}
  variants: {type: File, label: Variants, doc: "variants.zip of plan"}
  variant: {type: "string[]", label: Variant, doc: "Id of the variant of each training"}
  fold: {type: "int[]", label: Fold, doc: "The fold of each training"}
  pretraining: {type: "int[]", label: Pretraining, doc: "Position of the weights file of each training, -1 for none"}
  pretrained: {type: "File[]?", label: Pretrained weights, doc: "Weights files that variants of the grid name as their pretraining"}
  explain_folds: {type: "int[]?", label: Explained folds, doc: "Folds whose test scans are explained; all by default"}
  seed: {type: int, default: 0, label: Seed, doc: "Seed of the intervals"}
  store: {type: "string?", label: Store, doc: "Absolute path where trainings are executed that keeps finished ones"}
  data_store: {type: "string?", label: Store at the data, doc: "Absolute path at the data site that keeps finished data steps, evaluations and reports"}
  cores: {type: int, default: 1, label: Cores a training, doc: "Processor cores of one training"}
  train_options: {type: ["null", "types/train.yml#train_parameters"], label: Options of train, doc: "Where networks are trained"}
  evaluate_options: {type: ["null", "types/evaluate.yml#evaluate_parameters"], label: Options of evaluate, doc: "How variants are compared"}

steps:
  collect:
    run: tools/collect.cwl
    in:
      variants: variants
      variant: variant
      fold: fold
      pretraining: pretraining
      pretrained: pretrained
      cohort: cohort
      folds: folds
      store: store
      cores: cores
      parameters: {source: train_options, valueFrom: $(self)}
    out: [weights, runs, records, missing_variants, missing_fold, missing_pretraining, order, record]
  train:
    run: tools/train.cwl
    scatter: [variant, fold, pretraining]
    scatterMethod: dotproduct
    in:
      variant: collect/missing_variants
      fold: collect/missing_fold
      pretraining: collect/missing_pretraining
      pretrained: {source: pretrained, valueFrom: "$(inputs.pretraining < 0 ? null : self[inputs.pretraining])"}
      cohort: cohort
      folds: folds
      store: store
      cores: cores
      parameters: train_options
    out: [weights, run, record]
  evaluate:
    run: tools/evaluate.cwl
    in:
      runs: {source: [collect/runs, train/run], linkMerge: merge_flattened}
      order: collect/order
      scans: scans
      cohort_summary: cohort_summary
      explain_folds: explain_folds
      seed: seed
      store: data_store
      parameters: evaluate_options
    out: [leaderboard, metrics, comparisons, curves, winner, winner_positions, explained_positions, judge_positions, record]

outputs:
  leaderboard: {type: File, outputSource: evaluate/leaderboard, label: Leaderboard, doc: "One row per variant, with intervals"}
  metrics: {type: File, outputSource: evaluate/metrics, label: Metrics, doc: "Every figure of every variant, with intervals"}
  comparisons: {type: File, outputSource: evaluate/comparisons, label: Comparisons, doc: "Variants against the reference and the winner"}
  curves: {type: File, outputSource: evaluate/curves, label: Curves, doc: "ROC, precision-recall, calibration and decision curves"}
  winner: {type: File, outputSource: evaluate/winner, label: Winner, doc: "The winner and the positions of its runs"}
  winner_positions: {type: "int[]", outputSource: evaluate/winner_positions, label: Positions of the winner, doc: "Positions of the winner's runs"}
  explained_positions: {type: "int[]", outputSource: evaluate/explained_positions, label: Positions to explain, doc: "Positions of the winner's runs that are to be explained"}
  judge_positions: {type: "int[]", outputSource: evaluate/judge_positions, label: Positions of the judges, doc: "For each run to explain the position of its judge, -1 for none"}
  weights: {type: "File[]", outputSource: [collect/weights, train/weights], linkMerge: merge_flattened, label: Weights, doc: "Weights of every run; they stay where they were made unless picked"}
  runs: {type: "File[]", outputSource: [collect/runs, train/run], linkMerge: merge_flattened, label: Runs, doc: "Predictions and history of every run"}
  records:
    type: File[]
    outputSource: [collect/record, collect/records, train/record, evaluate/record]
    linkMerge: merge_flattened
    label: Records
    doc: What each step did, on which input, how long it took

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
