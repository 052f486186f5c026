// Owns: what an expression's names and operators mean, and which sub-expressions are one and the same.
// Doesn't own: the grammar (parser.ts) and the order in which calls are made (machine.ts).
// I1: calls are numbered from 1 in the order in which the text completes them, so a call's operands have smaller numbers than it.
// I2: the graph is a pure function of tree, variables and `deterministic`: a replay numbers the calls as the first execution did.
// I3: two calls are merged only if their function is deterministic and their operands are the same. Time is linear in the tree.
import type { Json } from "../lib/json.ts";
import { unknownVariable } from "./errors.ts";
import type { Operator } from "./lexer.ts";
import type { Span, Tree, TreeNode } from "./parser.ts";

/** What a call is given: the number of another call, or a constant's JSON. */
export type Operand = number | Json;

/** `position`: offset of the operator or name. Of merged calls, the place of the first. */
export interface CallNode extends Span {
  seq: number;
  fn: string;
  operands: readonly Operand[];
  position: number;
}

export interface Graph {
  /** The call with number `seq` is at `seq - 1`. */
  calls: readonly CallNode[];
  root: Operand;
}

/** Where a name is first used. `operator` is set when it is an operator that uses it. */
export interface NameUse {
  name: string;
  position: number;
  operator?: Operator;
}

type Invocation = Extract<TreeNode, { operands: readonly number[] }>;

const FUNCTION_OF: Readonly<Record<Operator, string>> = { "+": "add", "-": "subtract", "*": "multiply", "/": "divide" };
const ZERO: Json = "0";

const operatorOf = (node: Invocation): Operator | undefined =>
  node.kind === "operator" ? node.operator : node.kind === "negate" ? "-" : undefined;

const functionOf = (node: Invocation): string => (node.kind === "call" ? node.name : FUNCTION_OF[operatorOf(node) as Operator]);

/** The functions that an expression calls, also through operators: each name once, in the order of the text. */
export const functionsOf = (tree: Tree): NameUse[] => {
  const uses = new Map<string, NameUse>();
  for (const node of tree.nodes) {
    if (!("operands" in node)) continue;
    const use: NameUse = { name: functionOf(node), position: node.position };
    const operator = operatorOf(node);
    if (operator !== undefined) use.operator = operator;
    keepFirst(uses, use);
  }
  return inOrderOfText(uses);
};

/** The variables of an expression: each name once, in the order of the text. */
export const variablesOf = (tree: Tree): NameUse[] => {
  const uses = new Map<string, NameUse>();
  for (const node of tree.nodes) {
    if (node.kind === "variable") keepFirst(uses, { name: node.name, position: node.start });
  }
  return inOrderOfText(uses);
};

const keepFirst = (uses: Map<string, NameUse>, use: NameUse): void => {
  const known = uses.get(use.name);
  if (known === undefined || use.position < known.position) uses.set(use.name, use);
};

const inOrderOfText = (uses: ReadonlyMap<string, NameUse>): NameUse[] => [...uses.values()].sort((a, b) => a.position - b.position);

/**
 * Builds the graph of calls behind an expression.
 * @param variables each variable's JSON
 * @param deterministic whether the same input always gives the same result, so that identical calls may be made once
 * @throws {LockstepError} UNKNOWN_VARIABLE with `details.position` and `details.name`
 */
export const buildGraph = (tree: Tree, variables: ReadonlyMap<string, Json>, deterministic: (name: string) => boolean): Graph => {
  const builder = new GraphBuilder(variables, deterministic);
  const ids: number[] = [];
  for (const node of tree.nodes) ids.push(builder.add(node, ids));
  return { calls: builder.calls, root: builder.operandOf(ids.at(-1) as number) };
};

/** Gives every distinct value an id: a call its (positive) number, a constant a negative one. Ids keep the keys of calls short. */
class GraphBuilder {
  readonly calls: CallNode[] = [];
  readonly #constants: Json[] = [];
  readonly #idOfConstant = new Map<Json, number>();
  readonly #idOfVariable = new Map<string, number>();
  readonly #seqOf = new Map<string, number>();
  readonly #variables: ReadonlyMap<string, Json>;
  readonly #deterministic: (name: string) => boolean;

  constructor(variables: ReadonlyMap<string, Json>, deterministic: (name: string) => boolean) {
    this.#variables = variables;
    this.#deterministic = deterministic;
  }

  /** @param ids of the nodes before this one, by index */
  add(node: TreeNode, ids: readonly number[]): number {
    switch (node.kind) {
      case "number":
      case "string":
        return this.#constant(JSON.stringify(node.value));
      case "variable":
        return this.#variable(node.name, node.start);
      case "negate":
        return this.#call(node, [this.#constant(ZERO), ids[node.operands[0] as number] as number]);
      default:
        return this.#call(
          node,
          node.operands.map((index) => ids[index] as number),
        );
    }
  }

  operandOf(id: number): Operand {
    return id > 0 ? id : (this.#constants[-1 - id] as Json);
  }

  #constant(json: Json): number {
    const known = this.#idOfConstant.get(json);
    if (known !== undefined) return known;
    const id = -1 - this.#constants.length;
    this.#constants.push(json);
    this.#idOfConstant.set(json, id);
    return id;
  }

  // By name first: a large value must be hashed and compared once, not at every use.
  #variable(name: string, position: number): number {
    const known = this.#idOfVariable.get(name);
    if (known !== undefined) return known;
    const json = this.#variables.get(name);
    if (json === undefined) throw unknownVariable(name, position);
    const id = this.#constant(json);
    this.#idOfVariable.set(name, id);
    return id;
  }

  #call(node: Invocation, operands: readonly number[]): number {
    const fn = functionOf(node);
    const seq = this.calls.length + 1;
    if (this.#deterministic(fn)) {
      const key = `${fn}(${operands.join()})`;
      const known = this.#seqOf.get(key);
      if (known !== undefined) return known;
      this.#seqOf.set(key, seq);
    }
    const { position, start, end } = node;
    this.calls.push({ seq, fn, operands: operands.map((id) => this.operandOf(id)), position, start, end });
    return seq;
  }
}
