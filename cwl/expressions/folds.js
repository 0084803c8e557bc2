// A list of folds on a command line; "none" is the empty list, null says nothing and leaves the default.
function fold_list(folds) {
  return folds === null ? null : folds.length ? folds.join(",") : "none";
}
