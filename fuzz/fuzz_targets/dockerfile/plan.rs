/// Has every image: with a trigger, and for the platform that is asked for.
struct AnyBase;

impl plan::Bases for AnyBase {
    fn base(
        &mut self,
        reference: &oxbox_layers::oci::Reference,
        platform: &oxbox_layers::oci::Platform,
    ) -> Result<plan::Base, plan::FetchError> {
        let mut config = oxbox_layers::oci::Config::scratch(platform);
        let container = config.config.get_or_insert_default();
        container.env = Some(vec!["A=b".to_owned(), "odd".to_owned()]);
        container.working_dir = Some("here/..//there".to_owned());
        container.on_build = Some(vec!["COPY <<x y /z\nx".to_owned(), format!("LABEL from={reference}")]);
        let manifest = oxbox_layers::oci::Descriptor::of(oxbox_layers::oci::MediaType::OCI_MANIFEST, b"");
        Ok(plan::Base { manifest, config })
    }
}

/// Plans a parsed file and checks what must hold of every graph.
fn exercise_plan(file: &dockerfile::File, text: &str) {
    let mut options = plan::Options::default();
    options.build_args.insert("v".to_owned(), "a b".to_owned());
    options.contexts.insert("c".to_owned());
    for target in [None, Some("0".to_owned())] {
        options.target = target;
        let plan = match plan::plan(file, text, &options, &mut AnyBase) {
            Err(error) => {
                assert!(!error.render("Dockerfile", text).is_empty());
                continue;
            }
            Ok(plan) => plan,
        };
        for (place, vertex) in plan.graph.vertices.iter().enumerate() {
            assert!(vertex.op.inputs().iter().all(|input| input.0 < place));
            assert!(vertex.line <= text.matches('\n').count() + 1);
        }
        let mut chain = vec![plan.result.vertex];
        while let Some(below) = plan.graph.vertices[chain[chain.len() - 1].0].op.below() {
            chain.push(below);
        }
        let exported = plan.graph.vertices.iter().filter(|vertex| vertex.exported).count();
        assert_eq!(exported, chain.len());
        let layers: Vec<_> = plan.result.history.iter().filter_map(|line| line.vertex).collect();
        chain.reverse();
        assert_eq!(layers, chain[1..], "every vertex of the image has its line, in order");
        for warning in &plan.warnings {
            assert!(!warning.render("Dockerfile", text).is_empty());
        }
    }
}
