// Validates one object of the Prometheus operator. Run by test_schemas.py in the folder of the node packages, as a text and not as a file, so that imports are found there.
import { readFileSync } from "node:fs";

const object = JSON.parse(readFileSync(process.argv[1], "utf8"));
const { [object.kind]: Model } = await import(`@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/${object.kind}`);
new Model(object).validate();
