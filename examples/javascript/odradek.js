import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** A Kafka in memory, and its controls. It ends with this process, whatever happens to it. */
export class Odradek {
  static async start() {
    const options = [
      "serve", "--in-memory", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0",
      "--set", "group.initial.rebalance.delay.ms=0", "--stop-with-stdin", "--log-level", "error",
    ];
    const child = spawn(process.env.ODRADEK ?? "odradek", options, { stdio: ["pipe", "pipe", "inherit"] });
    const words = [];
    for await (const line of createInterface({ input: child.stdout })) {
      words.push(line.split(" ").at(-1));
      if (words.length === 2) return new Odradek(child, words[0], words[1]);
    }
    throw new Error("odradek did not start; what it said is above");
  }

  constructor(child, controls, bootstrapServers) {
    this.child = child;
    this.controls = controls;
    this.bootstrapServers = bootstrapServers;
  }

  /** Empty it: topics, groups, faults and the clock are as at the beginning. */
  reset() {
    return this.send("POST", "/reset");
  }

  get(path) {
    return this.send("GET", path);
  }

  post(path, body) {
    return this.send("POST", path, body);
  }

  async send(method, path, body) {
    const content = body && { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
    const response = await fetch(this.controls + path, { method, ...content });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${text}`);
    return text && JSON.parse(text);
  }

  async stop() {
    const ended = once(this.child, "exit");
    this.child.stdin.end();
    await ended;
  }
}
