//! Incidents begin and end.

use std::time::Duration;

use crate::simulate::fault::{Fault, Incident, Kind};
use crate::simulate::world::{State, World};

impl State {
    /// An incident begins or ends.
    pub(in crate::simulate) fn fault(&mut self, world: &World, Fault { incident, is_end }: Fault) {
        if !is_end {
            self.ledger.incident(incident.kind);
        }
        let line = self.lines.iter().rposition(|line| line.name == incident.machine && !line.is_closed);
        match incident.kind {
            Kind::Kill if is_end => self.faults.starts.push(incident.machine),
            Kind::Kill => {
                if let Some(line) = line {
                    self.end_line(line);
                }
                if let Some(machine) = self.machines.get(incident.machine) {
                    machine.kill();
                }
            }
            Kind::Redeploy if is_end => {}
            Kind::Redeploy => self.faults.terminates.push(incident.machine),
            Kind::Pause => self.pause(&incident, line, is_end),
            Kind::CutBus => self.cut_bus(line, is_end),
            Kind::CutSip => self.cut_sip(&incident, is_end),
            Kind::CutAll => {
                self.cut_bus(line, is_end);
                self.cut_sip(&incident, is_end);
            }
            Kind::NatsRestart => {
                self.faults.is_server_down = !is_end;
                if !is_end {
                    let now = self.now;
                    self.server.restart(now);
                    self.all_lines_end();
                }
            }
            Kind::StepDown if !is_end => {
                let now = self.now;
                self.server.step_down(now);
                self.carry_deliveries();
            }
            Kind::StepDown => {}
            Kind::Leaderless => {
                count(&mut self.faults.leaderless, is_end);
                self.server.set_leaderless(self.faults.leaderless > 0);
            }
            Kind::Full => {
                count(&mut self.faults.full, is_end);
                self.server.set_full(self.faults.full > 0);
            }
            Kind::Slow => {
                count(&mut self.faults.slow, is_end);
                self.faults.look_at_delay();
            }
            Kind::Lossy => self.lossy(&incident, is_end),
            Kind::Clock => self.clock(&incident, is_end),
        }
        // processes that start or stop are the deployment's
        world.call();
    }

    fn pause(&mut self, incident: &Incident, line: Option<usize>, is_end: bool) {
        let Some(machine) = self.machines.get(incident.machine).cloned() else { return };
        if is_end {
            machine.go_on();
            if let Some(line) = line {
                self.line_goes_on(line);
            }
        } else {
            machine.stop();
            if let Some(line) = line {
                self.line_stands_still(line);
            }
        }
    }

    fn cut_bus(&mut self, line: Option<usize>, is_end: bool) {
        let Some(line) = line else { return };
        if is_end { self.mend_line(line) } else { self.cut_line(line) }
    }

    fn cut_sip(&mut self, incident: &Incident, is_end: bool) {
        let Some(machine) = self.machines.get(incident.machine) else { return };
        let ip = machine.ip;
        if is_end {
            self.network.cut.remove(&ip);
        } else {
            self.network.cut.insert(ip);
        }
    }

    fn lossy(&mut self, incident: &Incident, is_end: bool) {
        count(&mut self.faults.lossy, is_end);
        let share = if self.faults.lossy > 0 { f64::from(u32::try_from(incident.measure).unwrap_or_default()) / 1000.0 } else { 0.0 };
        (self.network.loss, self.network.doubled, self.network.late) = (share, share / 4.0, share / 4.0);
    }

    fn clock(&mut self, incident: &Incident, is_end: bool) {
        let Some(machine) = self.machines.get(incident.machine) else { return };
        let off = Duration::from_millis(incident.measure.unsigned_abs());
        match (is_end, incident.measure >= 0) {
            (true, _) => machine.set_clock(Duration::ZERO, Duration::ZERO),
            (false, true) => machine.set_clock(off, Duration::ZERO),
            (false, false) => machine.set_clock(Duration::ZERO, off),
        }
    }
}

fn count(of: &mut u32, is_end: bool) {
    *of = if is_end { of.saturating_sub(1) } else { *of + 1 };
}
