// A manifest: the path of one file a line. An unbounded list of files never stands on a command line.
function manifest(files) {
  return (files || []).map(function (file) { return file.path; }).join("\n") + "\n";
}
