// Prints the issues that the Khronos validator finds in each file named, as one JSON object.
const fs = require("fs"), path = require("path"), validator = require(process.argv[2]);
const read = (file) => new Uint8Array(fs.readFileSync(file));
(async () => {
  const found = {};
  for (const file of process.argv.slice(3)) {
    const beside = (uri) => Promise.resolve(read(path.join(path.dirname(file), decodeURIComponent(uri))));
    const report = await validator.validateBytes(read(file), { externalResourceFunction: beside });
    found[path.basename(file)] = report.issues;
  }
  console.log(JSON.stringify(found));
})();
