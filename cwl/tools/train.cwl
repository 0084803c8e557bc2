cwlVersion: v1.2
class: CommandLineTool
label: Train a variant on a fold
doc: |
  Trains one variant on one fold and predicts its validation and test scans. With a store, a finished training is
  taken from there, and an unfinished one goes on from its checkpoint.
requirements:
  ResourceRequirement: {coresMin: $(inputs.cores), ramMin: 3072}
  NetworkAccess: {networkAccess: false}
  SchemaDefRequirement: {types: [{$import: ../types/train.yml}]}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-learn:0.1.0"}
  SoftwareRequirement: {packages: [{package: claire-pipeline, version: ["0.1.0"]}]}
baseCommand: [claire, train]
arguments: [--threads, $(runtime.cores)]

inputs:
  variant: {type: File, inputBinding: {prefix: --variant}, label: Variant, doc: "Variant to train, of plan"}
  cohort: {type: File, inputBinding: {prefix: --cohort}, label: Cohort, doc: "cohort.h5 of cohort"}
  folds: {type: File, inputBinding: {prefix: --folds}, label: Folds, doc: "folds.csv of cohort"}
  fold: {type: int, inputBinding: {prefix: --fold}, label: Fold, doc: "Fold whose patients are the test, counted from 0"}
  pretrained: {type: "File?", inputBinding: {prefix: --pretrained}, label: Pretrained weights, doc: "Weights file that the variant names as its pretraining"}
  store: {type: "string?", inputBinding: {prefix: --store}, label: Store, doc: "Absolute path where trainings are executed that keeps finished ones"}
  parameters: {type: ["null", "../types/train.yml#train_parameters"], inputBinding: {}, label: Parameters, doc: "The flags of the step, each with its default"}
  cores: {type: int, default: 1, label: Cores, doc: "Processor cores of the job"}

outputs:
  weights: {type: File, outputBinding: {glob: "*.safetensors"}, label: Weights, doc: "Weights of the best epoch, with the variant and fold they belong to"}
  run: {type: File, outputBinding: {glob: "*.run.zip"}, format: "edam:format_3987", label: Run, doc: "Predictions, history, variant and facts of the training"}
  record: {type: File, outputBinding: {glob: "*.train.run.json"}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
