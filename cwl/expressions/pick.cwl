cwlVersion: v1.2
class: ExpressionTool
label: Pick a run
doc: Hands on the weights and the predictions of one run, so that of all runs only the winner's are returned.
requirements:
  InlineJavascriptRequirement: {}
inputs:
  weights: {type: File, label: Weights, doc: "Weights of the run"}
  run: {type: File, label: Run, doc: "Predictions and history of the run"}
outputs:
  picked_weights: {type: File, label: Weights, doc: "Weights of the run"}
  picked_run: {type: File, label: Run, doc: "Predictions and history of the run"}
expression: "${return {picked_weights: inputs.weights, picked_run: inputs.run};}"
$namespaces: {s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
