// Runs in the order of the plan, and positions in that order as positions among the runs as they were given.
function in_order(runs) {
  return inputs.order == null ? runs : inputs.order.map(function (position) { return runs[position]; });
}
function positions(planned) {
  return inputs.order == null ? planned : planned.map(function (i) { return i < 0 ? i : inputs.order[i]; });
}
