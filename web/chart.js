// A time chart by hand: one column a minute for what arrived, a line for what became final. Shapes stretch with the page, labels are text beside them.

import { h, s } from "./dom.js";
import { moment, number, plural } from "./format.js";

const HEIGHT = 100;
let picked = null; // the column under the pointer or the arrow keys

// A round number not below the largest value, with a round half: the top of the axis.
function ceiling(value) {
  if (value <= 10) return [4, 6, 8, 10].find((top) => top >= value);
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].map((factor) => Math.round(factor * unit)).find((top) => top >= value);
}

// `points`: [{ from, to, arrived, finished }], oldest first.
export function chart(points, redraw) {
  const top = ceiling(Math.max(1, ...points.flatMap((point) => [point.arrived, point.finished])));
  const y = (value) => HEIGHT - (value / top) * HEIGHT;
  const line = points.map((point, i) => `${i ? "L" : "M"}${i + 0.5} ${y(point.finished).toFixed(2)}`).join("");
  const bars = points.map((point, i) =>
    s("rect", { class: i === picked ? "column picked" : "column", x: i + 0.12, width: 0.76, y: y(point.arrived).toFixed(2), height: (HEIGHT - y(point.arrived)).toFixed(2) }),
  );
  const pick = (index) => {
    const next = index === null ? null : Math.max(0, Math.min(points.length - 1, index));
    if (next !== picked) {
      picked = next;
      redraw();
    }
  };
  const total = (name) => points.reduce((sum, point) => sum + point[name], 0);
  const summary = `Last ${points.length} minutes: ${plural(total("arrived"), "transaction")} accepted, ${number(total("finished"))} final.`;
  const shown = picked !== null && points[picked];
  return h(
    "figure",
    { class: "chart" },
    h(
      "figcaption",
      null,
      h("span", { class: "key arrived" }, "Accepted"),
      h("span", { class: "key finished" }, "Final"),
      h("span", { class: "read" }, shown ? `${moment(shown.from)}: ${number(shown.arrived)} accepted, ${number(shown.finished)} final` : `${plural(total("arrived"), "transaction")} in ${plural(points.length, "minute")}`),
    ),
    h(
      "div",
      { class: "plot" },
      h("div", { class: "scale", "aria-hidden": "true" }, h("span", null, number(top)), h("span", null, number(top / 2)), h("span", null, "0")),
      h(
        "div",
        {
          class: "area",
          tabindex: 0,
          role: "img",
          "aria-label": summary + (shown ? ` At ${moment(shown.from)}: ${number(shown.arrived)} accepted, ${number(shown.finished)} final.` : " Arrow keys read single minutes."),
          onkeydown: (event) => {
            const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
            if (step) pick((picked ?? points.length) + step);
            if (event.key === "Escape") pick(null);
          },
          onblur: () => pick(null),
          onpointermove: (event) => {
            const box = event.currentTarget.getBoundingClientRect();
            pick(Math.floor(((event.clientX - box.left) / box.width) * points.length));
          },
          onpointerleave: () => pick(null),
        },
        s(
          "svg",
          { viewBox: `0 0 ${points.length} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
          [0, 0.5, 1].map((share) => s("path", { class: "grid", d: `M0 ${HEIGHT * share}H${points.length}` })),
          bars,
          s("path", { class: "line", d: line }),
        ),
      ),
      h(
        "div",
        { class: "hours", "aria-hidden": "true" },
        [1, 0.75, 0.5, 0.25].map((share) => h("span", null, `\u2212${Math.round(points.length * share)} min`)),
        h("span", null, "now"),
      ),
    ),
  );
}
