cwlVersion: v1.2
class: CommandLineTool
label: Explain a fold
doc: |
  Shows which lesions decided the test scans of one fold, by that fold's network: candidates are removed one by one,
  and what that does to the network is measured. Beside the ranked lesions: gates of the adversarial healing, how
  faithful each method is, maps and pictures.
$namespaces: {edam: "http://edamontology.org/"}
requirements:
  ResourceRequirement: {coresMin: $(inputs.cores), ramMin: 3072}
  NetworkAccess: {networkAccess: false}
  SchemaDefRequirement: {types: [{$import: ../types/images.yml}, {$import: ../types/device.yml}]}
hints:
  DockerRequirement: {dockerPull: "localhost/claire-learn:0.1.0"}
baseCommand: [claire, explain]
arguments: [--threads, $(runtime.cores)]

inputs:
  weights: {type: File, inputBinding: {prefix: --weights}, label: Weights, doc: "Weights of the run; they name its variant and fold"}
  run: {type: File, inputBinding: {prefix: --run}, label: Run, doc: "run.zip of the same run"}
  cohort: {type: File, inputBinding: {prefix: --cohort}, label: Cohort, doc: "cohort.h5 that the run was trained on"}
  folds: {type: File, inputBinding: {prefix: --folds}, label: Folds, doc: "folds.csv of the cohort"}
  images: {type: "../types/images.yml#images", default: phantom, inputBinding: {prefix: --images}, label: Pictures, doc: "Whose pictures are drawn: none, phantom or all"}
  seed: {type: "int?", inputBinding: {prefix: --seed}, label: Seed, doc: "Seed of everything that is drawn"}
  device: {type: "../types/device.yml#device", default: auto, inputBinding: {prefix: --device}, label: Device, doc: "Where the network runs"}
  limit: {type: "int?", inputBinding: {prefix: --limit}, label: Most scans, doc: "Most scans explained, those called positive first; 0 for all"}
  candidates: {type: "int?", inputBinding: {prefix: --candidates}, label: Most candidates, doc: "Most candidate lesions of a scan called positive; half for others"}
  attribution_steps: {type: "int?", inputBinding: {prefix: --attribution-steps}, label: Attribution steps, doc: "Points of integrated gradients"}
  refine_steps: {type: "int?", inputBinding: {prefix: --refine-steps}, label: Refinement steps, doc: "Adversarial training steps of the explained network; 0 leaves it as it is"}
  heal_steps: {type: "int?", inputBinding: {prefix: --heal-steps}, label: Healing steps, doc: "Training steps of the healer; 0 for none"}
  shapley: {type: "int?", inputBinding: {prefix: --shapley}, label: Shapley limit, doc: "Exact Shapley values for scans with up to so many candidates"}
  judge: {type: "File?", inputBinding: {prefix: --judge}, label: Judge, doc: "Weights of another architecture on the same grid and fold, for the gate that asks an unseen network"}
  keep_weights: {type: "boolean?", inputBinding: {prefix: --keep-weights}, label: Keep weights, doc: "Return the weights of the explained network"}
  cores: {type: int, default: 1, label: Cores, doc: "Processor cores of the job"}

outputs:
  saliency: {type: File, outputBinding: {glob: "*.saliency.zip"}, format: "edam:format_3987", label: Saliency maps, doc: "Maps and the label map of lesions of each scan, NIfTI"}
  overlays: {type: File, outputBinding: {glob: "*.overlays.zip"}, format: "edam:format_3987", label: Overlays, doc: "Pictures of the explained scans, by the policy of images"}
  lesions: {type: File, outputBinding: {glob: "*.lesions.json"}, format: "edam:format_3464", label: Lesions, doc: "Ranked lesions of each scan, gates of the healing, faithfulness of each method"}
  lesions_table: {type: File, outputBinding: {glob: "*.lesions.csv"}, format: "edam:format_3752", label: Lesions as a table, doc: "A line a lesion"}
  explained: {type: "File?", outputBinding: {glob: "*.explained.safetensors"}, label: Explained network, doc: "Weights of the explained network, where asked for"}
  record: {type: File, outputBinding: {glob: "*.explain.run.json"}, format: "edam:format_3464", label: Record, doc: "What the step did, on which input, how long it took"}
