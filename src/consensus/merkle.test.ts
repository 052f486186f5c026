import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { leafText, nodeText } from "./canonical.ts";
import { merklePath, merkleRoot, merkleTree, rootFromPath, rootOf } from "./merkle.ts";

const hash = (text: string): string => createHash("sha256").update(text).digest("hex");
const digests = fc.array(
  fc.integer().map((value) => hash(`leaf ${value}`)),
  { minLength: 1, maxLength: 70 },
);

describe("a batch's tree", () => {
  test("leads from each leaf to the root by its path, and by no other leaf's", () => {
    fc.assert(
      fc.property(digests, fc.nat(), (leaves, at) => {
        const tree = merkleTree(leaves, hash);
        const position = at % leaves.length;
        const path = merklePath(tree, position);
        expect(rootFromPath(leaves[position]!, position, path, hash)).toBe(rootOf(tree));
        expect(rootOf(tree)).toBe(merkleRoot(leaves, hash));
        expect(path).toHaveLength(Math.ceil(Math.log2(leaves.length)));
        for (const other of [position ^ 1, position + 1, position - 1, position + 2 ** path.length]) {
          if (leaves[other] !== leaves[position]) expect(rootFromPath(leaves[position]!, other, path, hash)).not.toBe(rootOf(tree));
        }
        expect(rootFromPath(hash("another"), position, path, hash)).not.toBe(rootOf(tree));
      }),
    );
  });

  test("has another root when any leaf is changed, added, left out, repeated or moved", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(), { minLength: 1, maxLength: 40 }), fc.nat(), (values, at) => {
        const leaves = values.map((value) => hash(`leaf ${value}`));
        const position = at % leaves.length;
        const root = merkleRoot(leaves, hash);
        expect(merkleRoot(leaves.with(position, hash("another")), hash)).not.toBe(root);
        expect(merkleRoot([...leaves, leaves.at(-1)!], hash)).not.toBe(root);
        expect(merkleRoot([...leaves, leaves[position]!], hash)).not.toBe(root);
        expect(merkleRoot(leaves.toSpliced(position, 1), hash)).not.toBe(root);
        if (leaves.length > 1) expect(merkleRoot([...leaves.slice(1), leaves[0]!], hash)).not.toBe(root);
      }),
    );
  });

  test("rejects a path of which any sibling is changed, left out or added", () => {
    const leaves = Array.from({ length: 11 }, (_, index) => hash(`${index}`));
    const tree = merkleTree(leaves, hash);
    for (const [position, leaf] of leaves.entries()) {
      const path = merklePath(tree, position);
      const tampered = [
        ...path.map((_, level) => path.with(level, hash("tampered"))),
        ...path.map((_, level) => path.toSpliced(level, 1)),
        [...path, ""],
        [...path, hash("more")],
      ];
      for (const each of tampered) expect(rootFromPath(leaf, position, each, hash)).not.toBe(rootOf(tree));
    }
  });

  test("an odd leaf has no second preimage: neither itself twice nor an inner node stands for it", () => {
    const [a, b, c] = [hash("a"), hash("b"), hash("c")];
    const odd = merkleRoot([a, b, c], hash);
    expect(merkleRoot([a, b, c, c], hash)).not.toBe(odd);
    expect(merkleRoot([a, b, c, hash(nodeText("", ""))], hash)).not.toBe(odd);
    const inner = hash(nodeText(a, b));
    expect(merkleRoot([inner, hash(nodeText(c, ""))], hash)).toBe(odd);
    // That is why a leaf is the hash of another text than any node: nobody finds a statement whose leaf is `inner`.
    const leaf = leafText("shop/charge@1", {
      operation: "r/1",
      version: "1",
      key: "",
      inputHash: a,
      resultHash: b,
      sequence: 1,
      position: 0,
    });
    expect(leaf.startsWith('["lockstep/result/1",')).toBe(true);
    expect(nodeText(a, b).startsWith('["lockstep/node/1",')).toBe(true);
  });

  test("takes nothing that is no path: lengths, positions, texts", () => {
    const leaf = hash("leaf");
    expect(rootFromPath(leaf, 0, [], hash)).toBe(leaf);
    expect(rootFromPath(leaf, 1, [], hash)).toBeUndefined();
    expect(rootFromPath(leaf, -1, [leaf], hash)).toBeUndefined();
    expect(rootFromPath(leaf, 0.5, [leaf], hash)).toBeUndefined();
    expect(rootFromPath(leaf, 1, [""], hash)).toBeUndefined();
    expect(rootFromPath(leaf, 0, ["00"], hash)).toBeUndefined();
    expect(rootFromPath(leaf.toUpperCase(), 0, [], hash)).toBeUndefined();
    expect(rootFromPath(leaf, 0, Array(33).fill(leaf), hash)).toBeUndefined();
  });

  test("of no leaves is the tree of nothing", () => {
    expect(merkleRoot([], hash)).toBe(hash(nodeText("", "")));
  });
});
