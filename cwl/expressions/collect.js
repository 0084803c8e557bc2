// trainings.csv of collect: a row per training, with the path in quotes. A list of hundreds stands on no command line.
function trainings_table() {
  function quoted(file) { return '"' + file.path.replace(/"/g, '""') + '"'; }
  var rows = inputs.variant.map(function (variant, i) {
    var weights = inputs.pretraining[i];
    return [variant, inputs.fold[i], weights < 0 ? "" : quoted(inputs.pretrained[weights])].join(",");
  });
  return ["variant,fold,pretrained"].concat(rows).join("\n") + "\n";
}
// collected.json: the positions of the finished trainings, in the order of their files, and of the missing ones.
function collected(files) {
  return JSON.parse(files.filter(function (file) { return file.basename === "collected.json"; })[0].contents);
}
// The values of the missing trainings, of one for each training of the plan.
function of_missing(files, values) {
  return collected(files).missing.map(function (training) { return values[training]; });
}
function missing_variants(files) {
  var by_name = {};
  var missing = of_missing(files, inputs.variant);
  files.forEach(function (file) {
    delete file.contents;
    by_name[file.basename] = file;
  });
  return missing.map(function (variant) { return by_name[variant + ".variant.json"]; });
}
// For each training its position among the finished and then the missing ones.
function order_of(files) {
  var order = [];
  collected(files).found.concat(collected(files).missing).forEach(function (training, i) { order[training] = i; });
  return order;
}
// The files of the same trainings are in the same order, whatever they hold.
function by_name(files) {
  return files.sort(function (a, b) { return a.basename < b.basename ? -1 : 1; });
}
