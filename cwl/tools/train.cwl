cwlVersion: v1.2
class: CommandLineTool
label: Train a variant on a fold
doc: |
  Trains one variant on one fold and predicts its validation and test scans. With a store, a finished training is taken
  from there, and an unfinished one goes on from its checkpoint.
$namespaces: {edam: "http://edamontology.org/"}
requirements:
  ResourceRequirement: {coresMin: $(inputs.cores), ramMin: 3072}
  NetworkAccess: {networkAccess: false}
  SchemaDefRequirement: {types: [{$import: ../types/device.yml}]}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-learn:0.1.0"}
baseCommand: [claire, train]
arguments: [--threads, $(runtime.cores)]

inputs:
  variant: {type: File, inputBinding: {prefix: --variant}, label: Variant, doc: "Variant to train, of plan"}
  cohort: {type: File, inputBinding: {prefix: --cohort}, label: Cohort, doc: "cohort.h5 of cohort"}
  folds: {type: File, inputBinding: {prefix: --folds}, label: Folds, doc: "folds.csv of cohort"}
  fold: {type: int, inputBinding: {prefix: --fold}, label: Fold, doc: "Fold whose patients are the test, counted from 0"}
  weights: {type: "File?", inputBinding: {prefix: --weights}, label: Weights, doc: "Weights file that the variant names as its pretraining"}
  store: {type: "string?", inputBinding: {prefix: --store}, label: Store, doc: "Absolute path where trainings are executed that keeps finished ones"}
  device: {type: "../types/device.yml#device", default: auto, inputBinding: {prefix: --device}, label: Device, doc: "Where the network is trained"}
  cores: {type: int, default: 1, label: Cores, doc: "Processor cores of the job"}

outputs:
  network: {type: File, outputBinding: {glob: "*.safetensors"}, label: Network, doc: "Weights of the best epoch, with the variant and fold they belong to"}
  run: {type: File, outputBinding: {glob: "*.run.zip"}, format: "edam:format_3987", label: Run, doc: "Predictions, history, variant and facts of the training"}
  record: {type: File, outputBinding: {glob: "*.train.run.json"}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}
