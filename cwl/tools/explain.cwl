cwlVersion: v1.2
class: CommandLineTool
label: Explain a fold
doc: |
  Shows which lesions decided the test scans of one fold, by that fold's network: whole lesions are removed one by one,
  and what that does to the network is measured. Beside the ranked lesions: gates that say whether the question has an
  answer for this network, how faithful each method is, maps and pictures.
requirements:
  ResourceRequirement: {coresMin: $(inputs.cores), ramMin: 3072}
  NetworkAccess: {networkAccess: false}
  SchemaDefRequirement:
    types:
      - {$import: ../types/explain.yml}
      - {$import: ../types/images.yml}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-learn:0.1.0"}
  SoftwareRequirement: {packages: [{package: claire-pipeline, version: ["0.1.0"]}]}
baseCommand: [claire, explain]
arguments: [--threads, $(runtime.cores)]

inputs:
  weights: {type: "File?", inputBinding: {prefix: --weights}, label: Weights, doc: "Weights of the run; they name its variant and fold"}
  run: {type: "File?", inputBinding: {prefix: --run}, label: Run, doc: "run.zip of the same run"}
  cohort: {type: File, inputBinding: {prefix: --cohort}, label: Cohort, doc: "cohort.h5 that the run was trained on; with a model scans.h5 of apply"}
  folds: {type: "File?", inputBinding: {prefix: --folds}, label: Folds, doc: "folds.csv of the cohort"}
  judge: {type: "File?", inputBinding: {prefix: --judge}, label: Judge, doc: "Weights of another architecture on the same grid and fold, for the gate that asks an unseen network"}
  winner: {type: "File?", inputBinding: {prefix: --winner}, label: Winner, doc: "winner.json of evaluate, whose guards feed a gate"}
  model: {type: "File?", inputBinding: {prefix: --model}, label: Model, doc: "model.zip of bundle: new scans are explained in place of the test scans of a run"}
  predictions: {type: "File?", inputBinding: {prefix: --predictions}, label: Predictions, doc: "predictions.json of apply, with a model"}
  images: {type: "../types/images.yml#images", default: phantom, inputBinding: {prefix: --images}, label: Pictures, doc: "Whose pictures are drawn: none, phantom or all"}
  seed: {type: "int?", inputBinding: {prefix: --seed}, label: Seed, doc: "Seed of everything that is drawn"}
  return_saliency: {type: boolean, default: false, label: Return saliency, doc: "Whether the saliency volumes leave the place where they were made"}
  store: {type: "string?", inputBinding: {prefix: --store}, label: Store, doc: "Absolute path where the step is executed that keeps finished results"}
  parameters: {type: ["null", "../types/explain.yml#explain_parameters"], inputBinding: {}, label: Parameters, doc: "The flags of the step, each with its default"}
  cores: {type: int, default: 1, label: Cores, doc: "Processor cores of the job"}

outputs:
  saliency:
    type: File[]
    format: edam:format_3987
    outputBinding: {glob: "$(inputs.return_saliency ? '*.saliency.zip' : [])"}
    label: Saliency volumes
    doc: Of each scan the prepared slices, the same without its crucial lesions, the label map of lesions, and maps, NIfTI; where asked for
  overlays: {type: File, outputBinding: {glob: "*.overlays.zip"}, format: "edam:format_3987", label: Overlays, doc: "Pictures of the explained scans, by the policy of images"}
  lesions: {type: File, outputBinding: {glob: "*.lesions.json"}, format: "edam:format_3464", label: Lesions, doc: "Ranked lesions of each scan, gates and their evidence, insertion audit, faithfulness of each method"}
  lesion_table: {type: File, outputBinding: {glob: "*.lesions.csv"}, format: "edam:format_3752", label: Lesions as a table, doc: "One row per lesion"}
  explained_weights: {type: "File[]", outputBinding: {glob: "*.explained.safetensors"}, label: Explained network, doc: "Weights of the explained network, where asked for"}
  record: {type: File, outputBinding: {glob: "*.explain.run.json"}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}

$namespaces: {edam: "http://edamontology.org/", s: "https://schema.org/"}
s:license: "https://spdx.org/licenses/Apache-2.0"
s:author: {s:name: "The CLAIRE pipeline maintainers"}
