cwlVersion: v1.2
class: Workflow
label: From a cohort to a leaderboard
doc: |
  Trains every variant on every fold, compares them and names the positions of the winner's runs. The plan comes from
  main.cwl, which makes it beside the data steps: a grid that is wrong is refused before anything costs time.
requirements:
  ScatterFeatureRequirement: {}
  MultipleInputFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  InlineJavascriptRequirement: {}

inputs:
  cohort: {type: File, label: Cohort, doc: "cohort.h5 of data.cwl"}
  cohort_summary: {type: File, label: Cohort summary, doc: "cohort.json of data.cwl"}
  scans: {type: File, label: Scans, doc: "scans.csv of data.cwl"}
  folds: {type: File, label: Folds of the patients, doc: "folds.csv of data.cwl"}
  variants: {type: "File[]", label: Variants, doc: "The variant of each training"}
  fold: {type: "int[]", label: Fold, doc: "The fold of each training"}
  pretraining: {type: "int[]", label: Pretraining, doc: "Position of the weights file of each training, -1 for none"}
  weights: {type: "File[]?", label: Weights, doc: "Weights files that variants of the grid name as their pretraining"}
  seed: {type: int, default: 0, label: Seed, doc: "Seed of the intervals"}
  store: {type: "string?", label: Store, doc: "Absolute path where trainings are executed that keeps finished ones"}
  cores: {type: int, default: 1, label: Cores a training, doc: "Processor cores of one training"}
  reference: {type: "string?", label: Reference, doc: "Id of the variant that all others are compared with"}
  prevalence: {type: "float?", label: Prevalence, doc: "Prevalence for the predictive values; the cohort's by default"}

steps:
  train:
    run: tools/train.cwl
    scatter: [variant, fold, pretraining]
    scatterMethod: dotproduct
    in:
      variant: variants
      fold: fold
      pretraining: pretraining
      weights: {source: weights, valueFrom: "$(inputs.pretraining < 0 ? null : self[inputs.pretraining])"}
      cohort: cohort
      folds: folds
      store: store
      cores: cores
    out: [network, run, record]
  evaluate:
    run: tools/evaluate.cwl
    in: {runs: train/run, scans: scans, cohort_summary: cohort_summary, seed: seed, reference: reference, prevalence: prevalence}
    out: [leaderboard, metrics, comparisons, curves, winner, winner_folds, winner_file, record]

outputs:
  leaderboard: {type: File, outputSource: evaluate/leaderboard, label: Leaderboard, doc: "A line a variant, with intervals"}
  metrics: {type: File, outputSource: evaluate/metrics, label: Metrics, doc: "Every figure of every variant, with intervals"}
  comparisons: {type: File, outputSource: evaluate/comparisons, label: Comparisons, doc: "Variants against the reference and the winner"}
  curves: {type: File, outputSource: evaluate/curves, label: Curves, doc: "ROC, precision-recall, calibration and decision curves"}
  winner: {type: "int[]", outputSource: evaluate/winner, label: Winner, doc: "Positions of the winner's runs"}
  winner_folds: {type: "int[]", outputSource: evaluate/winner_folds, label: Winner's folds, doc: "Fold of each of the winner's runs"}
  winner_file: {type: File, outputSource: evaluate/winner_file, label: Winner's file, doc: "The winner and its positions as a file"}
  networks: {type: "File[]", outputSource: train/network, label: Networks, doc: "Weights of every run; they stay where they were made unless picked"}
  runs: {type: "File[]", outputSource: train/run, label: Runs, doc: "Predictions and history of every run"}
  records:
    type: File[]
    outputSource: [train/record, evaluate/record]
    linkMerge: merge_flattened
    label: Records
    doc: What each step did, on which input, how long it took
