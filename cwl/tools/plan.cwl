cwlVersion: v1.2
class: CommandLineTool
label: Plan the trainings
doc: |
  Turns a grid of variants into the list of trainings, all of it checked before anything is submitted. `variants`, `fold`
  and `pretraining` have the same length, a place a training, so that train scatters over them by dotproduct.
$namespaces: {edam: "http://edamontology.org/"}
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 1024}
  NetworkAccess: {networkAccess: false}
  InlineJavascriptRequirement:
    expressionLib:
      - |
        function on_each_fold(values) {
          var trainings = [];
          values.forEach(function (value) { for (var k = 0; k < inputs.fold_count; k++) trainings.push(value); });
          return trainings;
        }
        function in_order_of_plan(files) {
          var by_name = {};
          files.forEach(function (file) { by_name[file.basename] = file; });
          return JSON.parse(by_name["plan.json"].contents).variants.map(function (id) {
            var file = by_name[id + ".variant.json"];
            delete file.contents;
            return file;
          });
        }
  InitialWorkDirRequirement:
    listing:
      - entryname: weights.txt
        entry: $((inputs.weights || []).map(function(f){return f.path}).join('\n') + '\n')
hints:
  DockerRequirement: {dockerPull: "localhost/claire-data:0.1.0"}
baseCommand: [claire, plan]
arguments: [--threads, $(runtime.cores), --weights, weights.txt]

inputs:
  grid: {type: File, inputBinding: {prefix: --grid}, label: Grid, doc: "YAML grid of variants"}
  fold_count: {type: int, inputBinding: {prefix: --fold-count}, label: Folds, doc: "Folds that each variant is trained on"}
  seed: {type: "int?", inputBinding: {prefix: --seed}, label: Seed, doc: "Seed of the variants whose grid names none"}
  weights: {type: "File[]?", label: Weights, doc: "Weights files that the pretraining of a variant may name"}

outputs:
  variants:
    type: File[]
    format: edam:format_3464
    outputBinding:
      glob: ["*.variant.json", plan.json]
      loadContents: true
      outputEval: $(on_each_fold(in_order_of_plan(self)))
    label: Variants
    doc: The variant of each training
  fold:
    type: int[]
    outputBinding:
      glob: plan.json
      loadContents: true
      outputEval: "$(on_each_fold(JSON.parse(self[0].contents).variants).map(function(_, i){return i % inputs.fold_count}))"
    label: Fold
    doc: The fold of each training
  pretraining:
    type: int[]
    outputBinding:
      glob: plan.json
      loadContents: true
      outputEval: $(on_each_fold(JSON.parse(self[0].contents).pretraining))
    label: Pretraining
    doc: Position of the weights file that each training starts from, -1 for none
  record: {type: File, outputBinding: {glob: plan.run.json}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}
