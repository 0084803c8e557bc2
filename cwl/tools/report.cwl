cwlVersion: v1.2
class: CommandLineTool
label: Write the report
doc: |
  Writes everything into one self-contained HTML page: cohort, leaderboard, curves, guards, a page a scan with its
  ranked lesions, rejects and provenance; and the provenance of the run as Workflow Run RO-Crate metadata.
requirements:
  ResourceRequirement: {coresMin: 1, ramMin: 1024}
  NetworkAccess: {networkAccess: false}
  SchemaDefRequirement:
    types:
      - {$import: ../types/report.yml}
      - {$import: ../types/images.yml}
  InlineJavascriptRequirement: {expressionLib: [{$include: ../expressions/manifest.js}]}
  InitialWorkDirRequirement:
    listing:
      - {entryname: lesions.txt, entry: $(manifest(inputs.lesions))}
      - {entryname: overlays.txt, entry: $(manifest(inputs.overlays))}
      - {entryname: records.txt, entry: $(manifest(inputs.records))}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-data:0.1.0"}
  SoftwareRequirement: {packages: [{package: claire-pipeline, version: ["0.1.0"]}]}
baseCommand: [claire, report]
arguments: [--threads, $(runtime.cores), --lesions, lesions.txt, --overlays, overlays.txt, --records, records.txt]

inputs:
  leaderboard: {type: File, inputBinding: {prefix: --leaderboard}, label: Leaderboard, doc: "leaderboard.csv of evaluate"}
  metrics: {type: File, inputBinding: {prefix: --metrics}, label: Metrics, doc: "metrics.json of evaluate"}
  comparisons: {type: File, inputBinding: {prefix: --comparisons}, label: Comparisons, doc: "comparisons.csv of evaluate"}
  curves: {type: File, inputBinding: {prefix: --curves}, label: Curves, doc: "curves.csv of evaluate"}
  cohort_summary: {type: File, inputBinding: {prefix: --cohort-summary}, label: Cohort summary, doc: "cohort.json of cohort"}
  scans: {type: File, inputBinding: {prefix: --scans}, label: Scans, doc: "scans.csv of cohort"}
  folds: {type: File, inputBinding: {prefix: --folds}, label: Folds, doc: "folds.csv of cohort"}
  rejects: {type: File, inputBinding: {prefix: --rejects}, label: Rejects, doc: "rejects.csv of cohort"}
  lesions: {type: "File[]", label: Lesions, doc: "lesions.json files of explain"}
  overlays: {type: "File[]", label: Overlays, doc: "overlays.zip files of explain"}
  records: {type: "File[]", label: Records, doc: "Records of all steps"}
  images: {type: "../types/images.yml#images", default: phantom, inputBinding: {prefix: --images}, label: Pictures, doc: "Whose pictures stand in the page: none, phantom or all"}
  store: {type: "string?", inputBinding: {prefix: --store}, label: Store, doc: "Absolute path where the step is executed that keeps finished results"}
  parameters: {type: ["null", "../types/report.yml#report_parameters"], inputBinding: {}, label: Parameters, doc: "The flags of the step, each with its default"}

outputs:
  page: {type: File, outputBinding: {glob: report.html}, format: "edam:format_2331", label: Report, doc: "Everything in one self-contained page"}
  crate: {type: File, outputBinding: {glob: ro-crate-metadata.json}, format: "edam:format_3464", label: Provenance, doc: "Workflow Run RO-Crate metadata"}
  record: {type: File, outputBinding: {glob: report.run.json}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
