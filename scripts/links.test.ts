import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..");
const documents = globSync(["*.md", "docs/**/*.md", "examples/**/*.md", "bench/**/*.md"], {
  cwd: root,
  exclude: (path) => path.split("/").includes("node_modules"),
});

/** Headings as anchors, the way that GitHub makes them. */
const anchorsOf = (text: string): string[] =>
  [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );

// Code is no text: `[a](b)` in it is no link.
const withoutCode = (text: string): string => text.replaceAll(/^```.*?^```$/gms, "").replaceAll(/`[^`\n]*`/g, "");

const isBroken = (from: string, link: string): boolean => {
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? from : normalize(join(dirname(from), path));
  if (!existsSync(join(root, target))) return true;
  return anchor !== undefined && !anchorsOf(readFileSync(join(root, target), "utf8")).includes(anchor);
};

test.each(documents)("every link of %s to a file or heading of this repository leads somewhere", (path) => {
  const links = [...withoutCode(readFileSync(join(root, path), "utf8")).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link);
  const local = links.filter((link) => !/^[a-z]+:/.test(link));
  expect(local.filter((link) => isBroken(path, link))).toEqual([]);
});

test("every decision is in the index", () => {
  const index = readFileSync(join(root, "docs/decisions/README.md"), "utf8");
  const decisions = globSync("docs/decisions/[0-9]*.md", { cwd: root }).map((path) => basename(path));
  expect(decisions.filter((file) => !index.includes(`](${file})`))).toEqual([]);
});
