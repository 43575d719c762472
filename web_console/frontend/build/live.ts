/**
 * `npm run dev`: Vite serves the sources, everything else comes from a running server. Its pages are handed on with the
 * built files replaced by their sources. FENGSUI_SERVER says where the server is.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Plugin, ProxyOptions } from "vite";

const ENTRY = /<script type="module" src="\/static\/assets\/(\w+)-[^"]+"><\/script>/;
const BUILT = /<link rel="(?:stylesheet|modulepreload)"[^>]*>\n?/g;

function fromSources(page: string): string {
  const script = (name: string): string => `<script type="module" src="/static/${name}"></script>`;
  return page
    .replace(BUILT, "")
    .replace(ENTRY, (_, name: string) => script("@vite/client") + script(`src/entries/${name}.tsx`));
}

function handOn(from: IncomingMessage, to: ServerResponse): void {
  const { "content-security-policy": _policy, "content-length": _length, ...headers } = from.headers;
  to.writeHead(from.statusCode ?? 502, headers);
  if (!from.headers["content-type"]?.startsWith("text/html")) {
    from.pipe(to);
    return;
  }
  const parts: Buffer[] = [];
  from.on("data", (part: Buffer) => parts.push(part));
  from.on("end", () => to.end(fromSources(Buffer.concat(parts).toString("utf8"))));
}

export function live(target: string): Plugin {
  const proxy: ProxyOptions = {
    target,
    secure: false, // the server's own CA
    changeOrigin: true,
    ws: true,
    selfHandleResponse: true,
    configure(server) {
      server.on("proxyReq", (request) => request.setHeader("Origin", target));
      server.on("proxyReqWs", (request) => request.setHeader("Origin", target));
      server.on("proxyRes", (from, _request, to) => handOn(from, to as ServerResponse));
    },
  };
  return {
    name: "live",
    apply: "serve",
    config: () => ({ server: { proxy: { "^/(?!static/)": proxy } } }),
  };
}
