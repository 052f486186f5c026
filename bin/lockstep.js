#!/usr/bin/env node
// Only what every Node.js can parse may stand here, so that an old one gets a message instead of a syntax error.
var version = process.versions.node;
var parts = version.split(".");
var enough = Number(parts[0]) > 22 || (Number(parts[0]) === 22 && Number(parts[1]) >= 13);

if (enough) {
  import("../dist/cli/main.js").then(
    (cli) => cli.main(),
    (error) => {
      if (error.code !== "ERR_MODULE_NOT_FOUND" || String(error.message).indexOf("cli/main.js") < 0) throw error;
      console.error("error NOT_BUILT: dist/ is not there\n  mend: Build it first: npm run build");
      process.exit(1);
    },
  );
} else {
  console.error(
    "error UNSUPPORTED_NODE: Lockstep needs Node.js 22.13 or later; this is " +
      version +
      " (" +
      process.execPath +
      ")\n  mend: Install a newer one from https://nodejs.org, or put one beside your application: npm install --save-dev node@24\n" +
      "        (npx and npm scripts then use it by themselves).",
  );
  process.exit(1);
}
