// Draws the panels of one dashboard with Grafana's own components, from values of an observed run.
import React from "react";
import { createRoot } from "react-dom/client";
import { FieldColorModeId, FieldType, ThemeContext, createTheme, dateTime, getDisplayProcessor, toDataFrame } from "@grafana/data";
import { BigValue, BigValueColorMode, BigValueGraphMode, PanelChrome, TimeSeries } from "@grafana/ui";

const { title, panels, width } = window.BOARD;
const theme = createTheme({ colors: { mode: "light" } });
const CELL = { width: width / 24, height: 30, gap: 8 };
const palette = theme.visualization.palette;

function legend(format, labels) {
  const text = format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? "");
  return text.trim() || Object.values(labels).join(" ") || "value";
}

/** Each target's series as frames that a panel understands. */
function frames(panel) {
  const all = panel.targets.flatMap(({ legend: format, series }) => series.map(({ metric, values }) => ({ name: legend(format, metric), values })));
  return all.map(({ name, values }, at) => {
    const colour = theme.visualization.getColorByName(palette[at % palette.length]);
    const config = {
      displayName: name, unit: panel.unit, color: { mode: FieldColorModeId.Fixed, fixedColor: colour },
      custom: { drawStyle: "line", lineWidth: 1, fillOpacity: 8, showPoints: "never", axisPlacement: "auto", scaleDistribution: { type: "linear" } },
    };
    const frame = toDataFrame({
      fields: [
        { name: "Time", type: FieldType.time, values: values.map(([time]) => time * 1000), config: {} },
        { name, type: FieldType.number, values: values.map(([, value]) => (value === "NaN" ? null : Number(value))), config },
      ],
    });
    for (const field of frame.fields) field.display = getDisplayProcessor({ field, theme });
    return frame;
  });
}

function Inside({ panel, width, height }) {
  const data = frames(panel);
  if (!data.length) return <div style={{ padding: 8, color: "#888" }}>No data</div>;
  if (panel.type === "timeseries") {
    const times = data.flatMap((frame) => frame.fields[0].values);
    const [from, to] = [Math.min(...times), Math.max(...times)].map((time) => dateTime(time));
    const range = { from, to, raw: { from, to } };
    return <TimeSeries frames={data} structureRev={1} timeRange={range} timeZone="utc" width={width} height={height} legend={{ displayMode: "list", placement: "bottom", showLegend: true, calcs: [] }} />;
  }
  const shown = data.slice(0, 8);
  return (
    <div style={{ display: "flex", gap: 4 }}>
      {shown.map((frame, at) => {
        const field = frame.fields[1];
        const last = [...field.values].reverse().find((value) => value !== null);
        const value = { ...field.display(last), title: shown.length > 1 ? field.config.displayName : "" };
        return <BigValue key={at} value={value} theme={theme} width={width / shown.length - 4} height={height} colorMode={BigValueColorMode.Value} graphMode={BigValueGraphMode.None} />;
      })}
    </div>
  );
}

function Board() {
  const bottom = Math.max(...panels.map(({ grid }) => grid.y + grid.h));
  return (
    <ThemeContext.Provider value={theme}>
      <h2 style={{ font: "20px sans-serif", margin: "8px" }}>{title}</h2>
      <div style={{ position: "relative", width, height: bottom * CELL.height }}>
        {panels.map((panel, at) => {
          const { x, y, w, h } = panel.grid;
          const size = { width: w * CELL.width - CELL.gap, height: h * CELL.height - CELL.gap };
          return (
            <div key={at} style={{ position: "absolute", left: x * CELL.width, top: y * CELL.height }}>
              <PanelChrome title={panel.title} {...size}>{(width, height) => <Inside panel={panel} width={width} height={height} />}</PanelChrome>
            </div>
          );
        })}
      </div>
    </ThemeContext.Provider>
  );
}

createRoot(document.getElementById("root")).render(<Board />);
