cwlVersion: v1.2
class: CommandLineTool
label: Collect finished trainings
doc: |
  Takes the trainings of the plan that the store has, so that train is submitted for the missing ones only;
  `missing_variants`, `missing_fold` and `missing_pretraining` have one entry for each of these. Without a store all are
  missing. The files of the finished and those of the missing trainings are merged in this order; `order` leads from the
  plan to it.
requirements:
  ResourceRequirement: {coresMin: $(inputs.cores), ramMin: 1024}
  NetworkAccess: {networkAccess: false}
  SchemaDefRequirement: {types: [{$import: ../types/collect.yml}]}
  InlineJavascriptRequirement: {expressionLib: [{$include: ../expressions/collect.js}]}
  InitialWorkDirRequirement:
    listing:
      - {entryname: trainings.csv, entry: $(trainings_table())}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-learn:0.1.0"}
  SoftwareRequirement: {packages: [{package: claire-pipeline, version: ["0.1.0"]}]}
baseCommand: [claire, collect]
arguments: [--threads, $(runtime.cores), --trainings, trainings.csv]

inputs:
  variants: {type: File, inputBinding: {prefix: --variants}, label: Variants, doc: "variants.zip of plan"}
  variant: {type: "string[]", label: Variant, doc: "Id of the variant of each training"}
  fold: {type: "int[]", label: Fold, doc: "The fold of each training"}
  pretraining: {type: "int[]", label: Pretraining, doc: "Position of the weights file of each training, -1 for none"}
  pretrained: {type: "File[]?", label: Pretrained weights, doc: "Weights files that trainings start from"}
  cohort: {type: File, inputBinding: {prefix: --cohort}, label: Cohort, doc: "cohort.h5 of cohort"}
  folds: {type: File, inputBinding: {prefix: --folds}, label: Folds, doc: "folds.csv of cohort"}
  store: {type: "string?", inputBinding: {prefix: --store}, label: Store, doc: "Absolute path where trainings are executed that keeps finished ones"}
  parameters: {type: ["null", "../types/collect.yml#collect_parameters"], inputBinding: {}, label: Parameters, doc: "The flags that train is given, as far as its results depend on them"}
  cores: {type: int, default: 1, label: Cores, doc: "Processor cores of the job"}

outputs:
  weights:
    type: File[]
    outputBinding: {glob: "*.safetensors", outputEval: "$(by_name(self))"}
    label: Weights
    doc: Weights of the finished trainings
  runs:
    type: File[]
    format: edam:format_3987
    outputBinding: {glob: "*.run.zip", outputEval: "$(by_name(self))"}
    label: Runs
    doc: Predictions, history, variant and facts of the finished trainings
  records:
    type: File[]
    format: edam:format_3464
    outputBinding: {glob: "*.train.run.json", outputEval: "$(by_name(self))"}
    label: Records
    doc: What the finished trainings did, on which input, how long it took
  missing_variants:
    type: File[]
    format: edam:format_3464
    outputBinding: {glob: ["*.variant.json", collected.json], loadContents: true, outputEval: $(missing_variants(self))}
    label: Missing variants
    doc: The variant of each training that is to be done
  missing_fold:
    type: int[]
    outputBinding: {glob: collected.json, loadContents: true, outputEval: "$(of_missing(self, inputs.fold))"}
    label: Missing fold
    doc: The fold of each training that is to be done
  missing_pretraining:
    type: int[]
    outputBinding: {glob: collected.json, loadContents: true, outputEval: "$(of_missing(self, inputs.pretraining))"}
    label: Missing pretraining
    doc: Position of the weights file of each training that is to be done, -1 for none
  order:
    type: int[]
    outputBinding: {glob: collected.json, loadContents: true, outputEval: "$(order_of(self))"}
    label: Order
    doc: For each training of the plan its position among the finished and then the missing ones
  record: {type: File, outputBinding: {glob: collect.run.json}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
