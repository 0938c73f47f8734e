/**
 * What is said to a process that asks a policy for another one, and what it answers.
 *
 * @module
 */

import type { PolicyAnswer, Question } from "./engine.ts";

/** Questions, and the policy that is asked. */
export interface Task {
  readonly bytes: Uint8Array;
  readonly origin: string;
  readonly questions: readonly Question[];
}

/** One line of JSON, then the policy. */
export function encodeTask({ bytes, origin, questions }: Task): Uint8Array {
  return Buffer.concat([Buffer.from(JSON.stringify({ origin, questions }) + "\n"), bytes]);
}

export function decodeTask(input: Uint8Array): Task {
  const end = input.indexOf(0x0a);
  const { origin, questions } = JSON.parse(new TextDecoder().decode(input.subarray(0, end)));
  return { origin, questions, bytes: input.subarray(end + 1) };
}

export function encodeAnswers(answers: readonly PolicyAnswer[]): string {
  return JSON.stringify(
    answers.map(({ decisions, permissive }) => ({ permissive, decisions: [...decisions] })),
  );
}

export function decodeAnswers(text: string): PolicyAnswer[] {
  const answers: { permissive: boolean; decisions: [] }[] = JSON.parse(text);
  return answers.map(({ permissive, decisions }) => ({
    permissive,
    decisions: new Map(decisions),
  }));
}
