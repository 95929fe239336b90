//! Orders files by their references.

/// Returns the groups of nodes that reach each other, so that each group comes after those that it
/// refers to (Tarjan's algorithm). The order depends only on the edges, which lead to indices of
/// the list. The nodes of a group are sorted.
pub(crate) fn groups(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut search = Search {
        edges,
        number: vec![UNVISITED; edges.len()],
        lowest: vec![0; edges.len()],
        on_stack: vec![false; edges.len()],
        stack: Vec::new(),
        next: 0,
        groups: Vec::new(),
    };
    for node in 0..edges.len() {
        if search.number[node] == UNVISITED {
            search.visit(node);
        }
    }
    search.groups
}

const UNVISITED: usize = usize::MAX;

struct Search<'a> {
    edges: &'a [Vec<usize>],
    number: Vec<usize>,
    lowest: Vec<usize>,
    on_stack: Vec<bool>,
    stack: Vec<usize>,
    next: usize,
    groups: Vec<Vec<usize>>,
}

impl Search<'_> {
    /// Visits all nodes that can be reached. A list instead of recursion holds the path, because
    /// a chain of files may be long.
    fn visit(&mut self, root: usize) {
        let mut path = vec![(root, 0)];
        self.enter(root);
        while let Some((node, edge)) = path.last_mut() {
            let node = *node;
            if let Some(target) = self.edges[node].get(*edge).copied() {
                *edge += 1;
                if self.number[target] == UNVISITED {
                    self.enter(target);
                    path.push((target, 0));
                } else if self.on_stack[target] {
                    self.lowest[node] = self.lowest[node].min(self.number[target]);
                }
                continue;
            }
            path.pop();
            if let Some((before, _)) = path.last() {
                self.lowest[*before] = self.lowest[*before].min(self.lowest[node]);
            }
            if self.lowest[node] == self.number[node] {
                self.leave(node);
            }
        }
    }

    fn enter(&mut self, node: usize) {
        self.number[node] = self.next;
        self.lowest[node] = self.next;
        self.next += 1;
        self.stack.push(node);
        self.on_stack[node] = true;
    }

    fn leave(&mut self, node: usize) {
        let start = self.stack.iter().rposition(|found| *found == node).unwrap_or_default();
        let mut group = self.stack.split_off(start);
        for member in &group {
            self.on_stack[*member] = false;
        }
        group.sort_unstable();
        self.groups.push(group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_referred_to_comes_first() {
        let edges = [vec![1, 2], vec![2], vec![], vec![0]];
        assert_eq!(groups(&edges), [[2], [1], [0], [3]]);
    }

    #[test]
    fn a_cycle_is_one_group() {
        let edges = [vec![1], vec![2], vec![0, 3], vec![], vec![4, 0]];
        assert_eq!(groups(&edges), [vec![3], vec![0, 1, 2], vec![4]]);
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let length = 200_000;
        let edges: Vec<_> = (1..=length).map(|next| vec![next % length]).collect();
        assert_eq!(groups(&edges).len(), 1);
        let edges: Vec<_> = (1..=length).map(|next| vec![next.min(length - 1)]).collect();
        assert_eq!(groups(&edges).len(), length);
    }
}
