// plan.json as the workflow needs it: one entry per training, variants outermost, folds innermost.
function plan_of(files) {
  return JSON.parse(files.filter(function (file) { return file.basename === "plan.json"; })[0].contents);
}
function on_each_fold(values) {
  var trainings = [];
  values.forEach(function (value) {
    for (var k = 0; k < inputs.fold_count; k++) trainings.push(value);
  });
  return trainings;
}
