cwlVersion: v1.2
class: CommandLineTool
label: Compare all runs
doc: |
  Leaderboard, metrics with 95 % intervals by patient and scan, comparisons, curves and the winner, from the
  predictions of every run. The headline is nested: in each fold the variant that is best on validation predicts the
  test patients.
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 1024}
  NetworkAccess: {networkAccess: false}
  SchemaDefRequirement: {types: [{$import: ../types/evaluate.yml}]}
  InlineJavascriptRequirement:
    expressionLib:
      - {$include: ../expressions/manifest.js}
      - {$include: ../expressions/folds.js}
      - {$include: ../expressions/order.js}
  InitialWorkDirRequirement:
    listing:
      - {entryname: runs.txt, entry: $(manifest(in_order(inputs.runs)))}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-data:0.1.0"}
  SoftwareRequirement: {packages: [{package: claire-pipeline, version: ["0.1.0"]}]}
baseCommand: [claire, evaluate]
arguments: [--threads, $(runtime.cores), --runs, runs.txt]

inputs:
  runs: {type: "File[]", label: Runs, doc: "Archive of every run"}
  order: {type: "int[]?", label: Order, doc: "For each training of the plan the position of its run; by default the runs are in the order of the plan"}
  scans: {type: File, inputBinding: {prefix: --scans}, label: Scans, doc: "scans.csv of the cohort"}
  cohort_summary: {type: File, inputBinding: {prefix: --cohort-summary}, label: Cohort summary, doc: "cohort.json of the cohort"}
  seed: {type: "int?", inputBinding: {prefix: --seed}, label: Seed, doc: "Seed of the bootstrap"}
  explain_folds:
    type: int[]?
    inputBinding: {prefix: --explain-folds, valueFrom: $(fold_list(self))}
    label: Explained folds
    doc: Folds whose test scans are explained; all by default
  store: {type: "string?", inputBinding: {prefix: --store}, label: Store, doc: "Absolute path where the step is executed that keeps finished results"}
  parameters: {type: ["null", "../types/evaluate.yml#evaluate_parameters"], inputBinding: {}, label: Parameters, doc: "The flags of the step, each with its default"}

outputs:
  leaderboard: {type: File, outputBinding: {glob: leaderboard.csv}, format: "edam:format_3752", label: Leaderboard, doc: "One row per variant, with intervals"}
  metrics: {type: File, outputBinding: {glob: metrics.json}, format: "edam:format_3464", label: Metrics, doc: "Every figure of every variant, with intervals, subgroups and guards"}
  comparisons: {type: File, outputBinding: {glob: comparisons.csv}, format: "edam:format_3752", label: Comparisons, doc: "Variants against the reference and the winner"}
  curves: {type: File, outputBinding: {glob: curves.csv}, format: "edam:format_3752", label: Curves, doc: "ROC, precision-recall, calibration and decision curves with bands"}
  winner: {type: File, outputBinding: {glob: winner.json}, format: "edam:format_3464", label: Winner, doc: "The winner and the positions of its runs"}
  winner_positions:
    type: int[]
    outputBinding: {glob: winner.json, loadContents: true, outputEval: "$(positions(JSON.parse(self[0].contents).winner))"}
    label: Positions of the winner
    doc: Positions of the winner's runs among the runs
  explained_positions:
    type: int[]
    outputBinding: {glob: winner.json, loadContents: true, outputEval: "$(positions(JSON.parse(self[0].contents).explained))"}
    label: Positions to explain
    doc: Positions of those of the winner's runs that are to be explained
  judge_positions:
    type: int[]
    outputBinding: {glob: winner.json, loadContents: true, outputEval: "$(positions(JSON.parse(self[0].contents).judge))"}
    label: Positions of the judges
    doc: For each run to explain the position of a run of another architecture on the same fold and grid, -1 for none
  record: {type: File, outputBinding: {glob: evaluate.run.json}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
