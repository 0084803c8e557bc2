cwlVersion: v1.2
class: CommandLineTool
label: Plan the trainings
doc: |
  Turns a grid of variants into the list of trainings, all of it checked before anything is submitted. `variant`,
  `fold` and `pretraining` have the same length, one entry per training. All variants travel in one file: hundreds that
  go to one job at once are more than StreamFlow's connections bear.
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 1024}
  NetworkAccess: {networkAccess: false}
  InlineJavascriptRequirement:
    expressionLib:
      - {$include: ../expressions/manifest.js}
      - {$include: ../expressions/folds.js}
      - {$include: ../expressions/plan.js}
  InitialWorkDirRequirement:
    listing:
      - {entryname: pretrained.txt, entry: $(manifest(inputs.pretrained))}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-data:0.1.0"}
  SoftwareRequirement: {packages: [{package: claire-pipeline, version: ["0.1.0"]}]}
baseCommand: [claire, plan]
arguments: [--threads, $(runtime.cores), --pretrained, pretrained.txt]

inputs:
  grid: {type: File, inputBinding: {prefix: --grid}, label: Grid, doc: "YAML grid of variants"}
  fold_count: {type: int, inputBinding: {prefix: --fold-count}, label: Folds, doc: "Folds that each variant is trained on"}
  seed: {type: "int?", inputBinding: {prefix: --seed}, label: Seed, doc: "Seed of the variants whose grid names none"}
  pretrained: {type: "File[]?", label: Pretrained weights, doc: "Weights files that the pretraining of a variant may name"}
  explain_folds:
    type: int[]?
    inputBinding: {prefix: --explain-folds, valueFrom: $(fold_list(self))}
    label: Explained folds
    doc: Folds whose test scans are explained, checked here; all by default

outputs:
  variants: {type: File, outputBinding: {glob: variants.zip}, format: "edam:format_3987", label: Variants, doc: "The variants, by id"}
  variant:
    type: string[]
    outputBinding:
      glob: plan.json
      loadContents: true
      outputEval: $(on_each_fold(plan_of(self).variants))
    label: Variant
    doc: Id of the variant of each training
  fold:
    type: int[]
    outputBinding:
      glob: plan.json
      loadContents: true
      outputEval: "$(on_each_fold(plan_of(self).variants).map(function(_, i){return i % inputs.fold_count}))"
    label: Fold
    doc: The fold of each training
  pretraining:
    type: int[]
    outputBinding:
      glob: plan.json
      loadContents: true
      outputEval: $(on_each_fold(plan_of(self).pretraining))
    label: Pretraining
    doc: Position of the weights file that each training starts from, -1 for none
  record: {type: File, outputBinding: {glob: plan.run.json}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
