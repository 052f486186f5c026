import { fillerText, nodeText } from "./canonical.ts";
import type { Crypto, Digest } from "./crypto.ts";

// The tree over a batch's results, so that one signature of its root serves all of them. Leaves are hashes of `leafText`, inner nodes of
// `nodeText`: texts of two purposes, so that neither can be shown as the other. The last node of a level of odd length stands beside "nothing",
// the empty text, which is no hash: a tree that repeats its last node instead has the same root as one that really has it twice.

type Hash = Crypto["hash"];

/** The levels from the leaves to the root, which is alone in the last. */
export type MerkleTree = readonly (readonly Digest[])[];

const NOTHING: Digest = "";

/** Deeper than any batch: a path that is longer is refused unread. */
const MOST_LEVELS = 32;

const isDigest = (text: unknown): boolean => typeof text === "string" && /^[0-9a-f]{64}$/.test(text);

export const merkleTree = (leaves: readonly Digest[], hash: Hash): MerkleTree => {
  const levels: Digest[][] = [leaves.length === 0 ? [hash(nodeText(NOTHING, NOTHING))] : [...leaves]];
  let level = levels[0]!;
  while (level.length > 1) {
    level = levelAbove(level, hash);
    levels.push(level);
  }
  return levels;
};

const levelAbove = (level: readonly Digest[], hash: Hash): Digest[] => {
  const above: Digest[] = [];
  for (let left = 0; left < level.length; left += 2) above.push(hash(nodeText(level[left]!, level[left + 1] ?? NOTHING)));
  return above;
};

export const merkleRoot = (leaves: readonly Digest[], hash: Hash): Digest => rootOf(merkleTree(leaves, hash));

export const rootOf = (tree: MerkleTree): Digest => tree.at(-1)![0]!;

/** The siblings from the leaf at `position` up to the root; `""` where there is none. */
export const merklePath = (tree: MerkleTree, position: number): Digest[] =>
  tree.slice(0, -1).map((level, height) => level[Math.floor(position / 2 ** height) ^ 1] ?? NOTHING);

/**
 * The way to the root from `position` in a tree of `count` leaves whose other leaves are all fillers: for a vote on one result alone. The filler
 * is the hash of a text of its own purpose, and so neither a result nor a node.
 */
export const fillerPath = (count: number, position: number, hash: Hash): Digest[] => {
  const path: Digest[] = [];
  // Of each level without the leaf: its nodes are alike but for the last, which may stand over fewer leaves.
  let node = hash(fillerText());
  let last = node;
  let at = position;
  for (let width = count; width > 1; width = Math.ceil(width / 2)) {
    const sibling = at % 2 === 0 ? at + 1 : at - 1;
    path.push(sibling >= width ? NOTHING : sibling === width - 1 ? last : node);
    last = hash(width % 2 === 0 ? nodeText(node, last) : nodeText(last, NOTHING));
    node = hash(nodeText(node, node));
    at = Math.floor(at / 2);
  }
  return path;
};

/** The root that this leaf has at this position by this path; `undefined` for what is no path of any tree. */
export const rootFromPath = (leaf: Digest, position: number, path: readonly Digest[], hash: Hash): Digest | undefined => {
  if (!isDigest(leaf) || path.length > MOST_LEVELS) return undefined;
  // Each position has one path length's worth of bits: a position beyond them would be another name of the same leaf.
  if (!Number.isSafeInteger(position) || position < 0 || position >= 2 ** path.length) return undefined;
  let node = leaf;
  let rest = position;
  for (const sibling of path) {
    const isRight = rest % 2 === 1;
    // Nothing stands at the left of something in no tree.
    if (!isDigest(sibling) && (isRight || sibling !== NOTHING)) return undefined;
    node = hash(isRight ? nodeText(sibling, node) : nodeText(node, sibling));
    rest = Math.floor(rest / 2);
  }
  return node;
};
