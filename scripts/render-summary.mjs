// Renders TOOLS/summary.md into TOOLS/light.png and TOOLS/dark.png. Usage: render-summary.mjs TOOLS CHROMIUM
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [tools, chromium] = process.argv.slice(2);
const require = createRequire(`${tools}/node_modules/`);
const { marked } = require("marked");
const puppeteer = require("puppeteer-core");

// As on GitHub, a code block in the language mermaid becomes a diagram.
marked.use({
  renderer: {
    code({ text, lang }) {
      return lang === "mermaid" ? `<section class="diagram"><pre class="mermaid">${text}</pre></section>` : false;
    },
  },
});
const summary = marked.parse(readFileSync(`${tools}/summary.md`, "utf8"));

const page = (scheme) => `<!doctype html>
  <meta charset="utf-8">
  <style>
    ${readFileSync(require.resolve("github-markdown-css/github-markdown.css"), "utf8")}
    body { margin: 0; width: 880px; }
    .markdown-body { padding: 16px 24px; }
    .markdown-body .diagram { padding: 8px; border: 1px solid var(--borderColor-default); border-radius: 6px; }
    .markdown-body pre.mermaid { margin: 0; padding: 0; background: none; }
  </style>
  <article class="markdown-body">${summary}</article>`;

const browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox", "--force-color-profile=srgb"] });
try {
  for (const scheme of ["light", "dark"]) {
    const tab = await browser.newPage();
    await tab.setViewport({ width: 880, height: 600, deviceScaleFactor: 2 });
    await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await tab.setContent(page(scheme));
    await tab.addScriptTag({ path: require.resolve("mermaid/dist/mermaid.min.js") });
    await tab.evaluate(async (theme) => {
      mermaid.initialize({ startOnLoad: false, theme });
      await mermaid.run();
    }, scheme === "dark" ? "dark" : "default");
    await (await tab.$("article")).screenshot({ path: `${tools}/${scheme}.png` });
  }
} finally {
  await browser.close();
}
