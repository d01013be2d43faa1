// Draws the panels of one dashboard with Grafana's own components, from values of an observed run and as the dashboard's JSON says.
import React from "react";
import { createRoot } from "react-dom/client";
import { FieldColorModeId, FieldType, ThemeContext, createTheme, dateTime, getDisplayProcessor, toDataFrame } from "@grafana/data";
import { BigValue, BigValueColorMode, BigValueGraphMode, PanelChrome, TimeSeries } from "@grafana/ui";

const { title, panels, width } = window.BOARD;
const theme = createTheme({ colors: { mode: "light" } });
const CELL = { width: width / 24, height: 30, gap: 8 };
const TITLE_HEIGHT = 45;
const palette = theme.visualization.palette;

function legend(format, labels) {
  const text = format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? "");
  return text.trim() || Object.values(labels).join(" ") || "value";
}

/** The panel's own settings of a field: unit, bounds, decimals, thresholds, stacking, scale. JSON has null for the bottom. */
function settings({ type, defaults }, name, at) {
  const steps = defaults.thresholds?.steps.map((step) => ({ ...step, value: step.value ?? -Infinity }));
  const colour = theme.visualization.getColorByName(palette[at % palette.length]);
  return {
    ...defaults,
    displayName: name,
    ...(steps && { thresholds: { ...defaults.thresholds, steps } }),
    ...(type === "timeseries" && { color: { mode: FieldColorModeId.Fixed, fixedColor: colour } }),
  };
}

/** Each target's series as frames that a panel understands. */
function frames(panel) {
  const all = panel.targets.flatMap(({ legend: format, series }) => series.map(({ metric, values }) => ({ name: legend(format, metric), values })));
  return all.map(({ name, values }, at) => {
    const frame = toDataFrame({
      fields: [
        { name: "Time", type: FieldType.time, values: values.map(([time]) => time * 1000), config: {} },
        { name, type: FieldType.number, values: values.map(([, value]) => (value === "NaN" ? null : Number(value))), config: settings(panel, name, at) },
      ],
    });
    for (const field of frame.fields) field.display = getDisplayProcessor({ field, theme });
    return frame;
  });
}

function Lines({ data, width, height }) {
  const times = data.flatMap((frame) => frame.fields[0].values);
  const [from, to] = [Math.min(...times), Math.max(...times)].map((time) => dateTime(time));
  const range = { from, to, raw: { from, to } };
  const shown = { displayMode: "list", placement: "bottom", showLegend: true, calcs: [] };
  return <TimeSeries frames={data} structureRev={1} timeRange={range} timeZone="utc" width={width} height={height} legend={shown} />;
}

function Inside({ panel, width, height }) {
  const data = frames(panel);
  const empty = panel.defaults.noValue;
  if (!data.length && !empty) return <div style={{ padding: 8, color: "#888" }}>No data</div>;
  if (panel.type === "timeseries") return <Lines data={data} width={width} height={height} />;
  const field = data[0]?.fields[1];
  const last = field && [...field.values].reverse().find((value) => value !== null);
  const value = last === undefined ? { text: empty ?? "No data", numeric: NaN } : { ...field.display(last), title: "" };
  return <BigValue value={value} theme={theme} width={width} height={height} colorMode={BigValueColorMode.Value} graphMode={BigValueGraphMode.None} />;
}

function Panel({ panel }) {
  const { x, y, w, h } = panel.grid;
  const place = { position: "absolute", left: x * CELL.width, top: y * CELL.height };
  if (panel.type === "row") return <div style={{ ...place, font: "500 16px sans-serif", padding: "4px 8px" }}>{panel.title}</div>;
  const size = { width: w * CELL.width - CELL.gap, height: h * CELL.height - CELL.gap };
  return (
    <div style={place}>
      <PanelChrome title={panel.title} {...size}>{(width, height) => <Inside panel={panel} width={width} height={height} />}</PanelChrome>
    </div>
  );
}

function Board() {
  const bottom = Math.max(...panels.map(({ grid }) => grid.y + grid.h));
  return (
    <ThemeContext.Provider value={theme}>
      <div style={{ font: "20px sans-serif", height: TITLE_HEIGHT, padding: 8, boxSizing: "border-box" }}>{title}</div>
      <div style={{ position: "relative", width, height: bottom * CELL.height }}>
        {panels.map((panel, at) => <Panel key={at} panel={panel} />)}
      </div>
    </ThemeContext.Provider>
  );
}

createRoot(document.getElementById("root")).render(<Board />);
